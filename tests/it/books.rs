//! Clients that keep books of what was acknowledged, and of what may have been done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{Client, array_items, eventually, show};

/// The keys of each kind.
const KEYS: u8 = 40;

/// Clients at several proxies.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    proxies: Vec<Mutex<SocketAddr>>,
    is_over: AtomicBool,
    /// A request may fail without it being known whether it was done.
    may_fail: AtomicBool,
    rounds: AtomicU64,
    /// Held for writing while nobody may work.
    gate: RwLock<()>,
    books: Mutex<Books>,
}

/// What is known of the keys of one case.
#[derive(Default)]
struct Books {
    case: u32,
    next: u64,
    counters: BTreeMap<String, Count>,
    registers: BTreeMap<String, Register>,
    lists: BTreeMap<String, List>,
}

#[derive(Default)]
struct Count {
    done: u64,
    unknown: u64,
}

/// What one client, the only one that writes it, knows of a key.
#[derive(Clone, Default)]
struct Register {
    last: Option<u64>,
    unknown: BTreeSet<u64>,
}

#[derive(Default)]
struct List {
    pushed: BTreeSet<String>,
    unknown_pushes: BTreeSet<String>,
    popped: BTreeSet<String>,
    unknown_pops: usize,
}

/// What became of a request.
enum Answer {
    Done(Vec<u8>),
    /// Nothing was done.
    Undone,
    Unknown,
}

impl Load {
    /// Starts clients of each kind at each of these proxies.
    pub(crate) fn start(proxies: impl IntoIterator<Item = SocketAddr>) -> Self {
        let shared = Arc::new(Shared {
            proxies: proxies.into_iter().map(Mutex::new).collect(),
            is_over: AtomicBool::new(false),
            may_fail: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
            gate: RwLock::new(()),
            books: Mutex::default(),
        });
        let works: [fn(&mut Worker); 3] = [count, register, push_and_pop];
        let workers = (0..shared.proxies.len()).flat_map(|proxy| works.map(|work| (proxy, work)));
        let threads = workers
            .map(|(proxy, work)| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || Worker::new(shared, proxy).run(work))
            })
            .collect();
        Self { shared, threads }
    }

    /// Begins a case, whose keys are new; removes those of the last one.
    pub(crate) fn begin(&self, case: u32, client: &mut Client) {
        let _closed = self.close();
        self.shared.may_fail.store(false, Ordering::SeqCst);
        let begun = Books {
            case,
            ..Books::default()
        };
        let books = std::mem::replace(&mut *self.books(), begun);
        let keys = books
            .counters
            .into_keys()
            .chain(books.registers.into_keys());
        for key in keys.chain(books.lists.into_keys()) {
            let reply = client.ask(&format!("UNLINK {key}"));
            assert_eq!(reply.first(), Some(&b':'), "{key}: {}", show(&reply));
        }
    }

    /// From now on a request may fail in a way that tells not whether it was done.
    pub(crate) fn expect_failures(&self) {
        self.shared.may_fail.store(true, Ordering::SeqCst);
    }

    /// The clients of this proxy find it there from now on.
    pub(crate) fn move_proxy(&self, proxy: usize, address: SocketAddr) {
        *self.shared.proxies[proxy].lock().unwrap() = address;
    }

    /// Waits for so many more rounds.
    pub(crate) fn wait_for_rounds(&self, more: u64) {
        let until = self.shared.rounds.load(Ordering::Relaxed) + more;
        eventually("clients go on", || {
            let has_failed = self.threads.iter().any(JoinHandle::is_finished);
            assert!(!has_failed, "a client has failed");
            (self.shared.rounds.load(Ordering::Relaxed) >= until).then_some(())
        });
    }

    /// Keeps all clients from working while it lives; each has its answer.
    pub(crate) fn close(&self) -> impl Drop {
        self.shared
            .gate
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the books of the case with what the pool has.
    pub(crate) fn check(&self, client: &mut Client) {
        let _closed = self.close();
        let books = self.books();
        for (key, count) in &books.counters {
            let found = number(&client.ask(&format!("GET {key}"))).unwrap_or_default();
            let most = count.done + count.unknown;
            let range = count.done..=most;
            assert!(range.contains(&found), "{key}: {found}, not in {range:?}");
        }
        for (key, register) in &books.registers {
            register.check(key, &client.ask(&format!("GET {key}")));
        }
        for (key, list) in &books.lists {
            list.check(key, array_items(&client.ask(&format!("LRANGE {key} 0 -1"))));
        }
    }

    /// Ends all clients; fails if one has failed.
    pub(crate) fn end(self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.shared
            .books
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Register {
    fn check(&self, key: &str, reply: &[u8]) {
        let found = number(reply);
        let is_right = found == self.last || found.is_some_and(|n| self.unknown.contains(&n));
        let (last, unknown) = (self.last, &self.unknown);
        assert!(is_right, "{key}: {found:?}, not {last:?} or {unknown:?}");
    }
}

impl List {
    fn check(&self, key: &str, left: Vec<Vec<u8>>) {
        let mut found = self.popped.clone();
        for item in left {
            let item = String::from_utf8(item).unwrap();
            assert!(found.insert(item.clone()), "{key}: {item} was also popped");
        }
        let missing: Vec<_> = self.pushed.difference(&found).collect();
        let pops = self.unknown_pops;
        assert!(
            missing.len() <= pops,
            "{key}: lost, by {pops} pops: {missing:?}"
        );
        let known: BTreeSet<_> = self.pushed.union(&self.unknown_pushes).collect();
        let strange: Vec<_> = found.iter().filter(|item| !known.contains(item)).collect();
        assert!(strange.is_empty(), "{key}: never pushed: {strange:?}");
    }
}

/// One client.
struct Worker {
    shared: Arc<Shared>,
    proxy: usize,
    client: Option<Client>,
    /// Those of this client's registers.
    name: u64,
}

impl Worker {
    fn new(shared: Arc<Shared>, proxy: usize) -> Self {
        let name = fastrand::u64(..);
        Self {
            shared,
            proxy,
            client: None,
            name,
        }
    }

    fn run(mut self, work: fn(&mut Self)) {
        while !self.shared.is_over.load(Ordering::SeqCst) {
            let shared = Arc::clone(&self.shared);
            let open = shared.gate.read().unwrap();
            work(&mut self);
            drop(open);
            self.shared.rounds.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ask(&mut self, request: &str) -> Answer {
        if !self.is_connected() {
            // Its proxy is being started again.
            thread::park_timeout(Duration::from_millis(5));
            return Answer::Undone;
        }
        let reply = self.try_ask(request);
        let may_fail = self.shared.may_fail.load(Ordering::SeqCst);
        match reply {
            Some(reply) if reply.starts_with(b"-TRYAGAIN ") => Answer::Undone,
            Some(reply) if reply.starts_with(b"-") => {
                assert!(may_fail, "{request}: {}", show(&reply));
                Answer::Unknown
            }
            Some(reply) => Answer::Done(reply),
            None => {
                assert!(may_fail, "{request}: no reply");
                self.client = None;
                Answer::Unknown
            }
        }
    }

    fn is_connected(&mut self) -> bool {
        if self.client.is_none() {
            let address = *self.shared.proxies[self.proxy].lock().unwrap();
            self.client = Client::try_connect(address).ok();
        }
        self.client.is_some()
    }

    fn try_ask(&mut self, request: &str) -> Option<Vec<u8>> {
        let client = self.client.as_mut()?;
        client.try_send(&crate::support::words(request)).ok()?;
        client.try_reply().ok()
    }

    fn books<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        change(&mut self.shared.books.lock().unwrap())
    }

    fn key(&self, kind: &str) -> String {
        let case = self.books(|books| books.case);
        format!("{kind}:{case}:{}", fastrand::u8(..KEYS))
    }
}

fn count(worker: &mut Worker) {
    let key = worker.key("count");
    let answer = worker.ask(&format!("INCR {key}"));
    worker.books(|books| {
        let count = books.counters.entry(key).or_default();
        match answer {
            Answer::Done(_) => count.done += 1,
            Answer::Undone => {}
            Answer::Unknown => count.unknown += 1,
        }
    });
}

fn register(worker: &mut Worker) {
    let key = format!("{}:{}", worker.key("register"), worker.name);
    if fastrand::bool() {
        let before = worker.books(|books| books.registers.get(&key).cloned());
        if let Answer::Done(reply) = worker.ask(&format!("GET {key}")) {
            before.unwrap_or_default().check(&key, &reply);
        }
        return;
    }
    let value = worker.books(Books::unique);
    let answer = worker.ask(&format!("SET {key} {value}"));
    worker.books(|books| {
        let register = books.registers.entry(key).or_default();
        match answer {
            Answer::Done(_) => register.last = Some(value),
            Answer::Undone => {}
            // It may still be done after the next one.
            Answer::Unknown => _ = register.unknown.insert(value),
        }
    });
}

fn push_and_pop(worker: &mut Worker) {
    let key = worker.key("list");
    if fastrand::bool() {
        let item = worker.books(Books::unique).to_string();
        // Before it is popped by another.
        worker.books(|books| books.list(&key).unknown_pushes.insert(item.clone()));
        if let Answer::Done(_) = worker.ask(&format!("RPUSH {key} {item}")) {
            worker.books(|books| books.list(&key).pushed.insert(item));
        }
        return;
    }
    let answer = worker.ask(&format!("LPOP {key}"));
    worker.books(|books| {
        let list = books.list(&key);
        match answer {
            Answer::Done(reply) => {
                if let Some(item) = number(&reply) {
                    let is_first = list.popped.insert(item.to_string());
                    assert!(is_first, "{key}: {item} was popped twice");
                }
            }
            Answer::Undone => {}
            Answer::Unknown => list.unknown_pops += 1,
        }
    });
}

impl Books {
    fn unique(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn list(&mut self, key: &str) -> &mut List {
        self.lists.entry(key.to_owned()).or_default()
    }
}

/// The number in a bulk string; `None` for nil.
fn number(reply: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(reply).unwrap();
    assert!(text.starts_with('$'), "{text}");
    text.lines().nth(1).map(|digits| digits.parse().unwrap())
}
