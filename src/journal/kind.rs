//! The table of kinds.

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It went as wanted.
    Info,
    /// Something has failed, or is not as it was.
    Warning,
    /// Somebody must do something.
    Error,
}

macro_rules! table {
    ($($kind:ident $severity:ident $name:literal $help:literal;)*) => {
        /// The kind of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $(#[doc = $help] $kind,)*
        }

        impl EventKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Its word in the admin API.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// One line for operators.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$kind => $help,)*
                }
            }

            /// How much it matters.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$kind => Severity::$severity,)*
                }
            }
        }
    };
}

table! {
    Started Info "started" "The proxy has started.";
    TookOver Info "took_over" "The proxy has taken over the clients of the process that it replaces.";
    UpgradeFailed Error "upgrade_failed" "Another process was to take over, and has not; this one goes on.";
    Stopping Info "stopping" "The proxy finishes requests in flight, then exits.";
    Reloaded Info "reloaded" "The configuration file was applied.";
    ReloadRefused Error "reload_refused" "The configuration file was refused; nothing was changed.";
    TlsRenewed Info "tls_renewed" "A file of TLS has changed, and is in use.";
    TlsRefused Error "tls_refused" "A file of TLS has changed and is faulty; the old one stays in use.";
    LogLevelSet Info "log_level_set" "An operator has set the log level.";
    ServerEjected Error "server_ejected" "A server has left the ring, because it failed or by hand.";
    ServerReturned Info "server_returned" "An ejected server is back in the ring.";
    ServerDrained Warning "server_drained" "An operator has taken a server out of the ring.";
    ServerAdmitted Info "server_admitted" "An operator has brought a server back into the ring.";
    ServerFailed Warning "server_failed" "A connection to a server that worked has failed.";
    ServerAnswers Info "server_answers" "A server replies again after a failure.";
    AddressChanged Warning "address_changed" "The name of a server stands for another address.";
    PrimaryChanged Warning "primary_changed" "A server has another primary.";
    FailoverOrdered Info "failover_ordered" "An operator has ordered a failover.";
    FailoverDone Info "failover_done" "The failover that an operator has ordered is done.";
    FailoverFailed Error "failover_failed" "The failover that an operator has ordered has failed.";
    MoveBegun Info "move_begun" "Keys are being moved to another placement.";
    MoveDone Info "move_done" "All keys have moved.";
    MoveAborted Warning "move_aborted" "A move of keys was aborted; the placement before it is in force.";
    ClientKilled Info "client_killed" "An operator has disconnected a client.";
    UserChanged Info "user_changed" "An operator has changed or deleted a user.";
    ClientsRefused Warning "clients_refused" "New clients were refused because a limit was reached.";
    ClientsClosed Warning "clients_closed" "Clients were closed because a limit was reached.";
}

impl Severity {
    /// Its word in the admin API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
