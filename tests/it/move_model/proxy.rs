//! The actions of the workers of the proxies.

use super::omission::Omission;
use super::search::Actions;
use super::shape::Model;
use super::state::{
    Connection, Decision, Handshake, NONE, Route, SOURCES, Set, State, View, WORKERS, Worker,
};

/// Lists what each worker can do.
pub(super) fn actions(model: &Model, state: &State, out: &mut Actions) {
    for index in 0..WORKERS {
        let worker = Of {
            model,
            state,
            index,
        };
        out.of("worker", index);
        for source in 0..model.shape.sources {
            worker.connects(source, out);
            worker.takes_the_answer(source, out);
            worker.asks_again(source, out);
            worker.times_out(source, out);
            worker.reads_the_mark(source, out);
            worker.drains(source, out);
            worker.proposes_to_abort(source, out);
        }
        for bucket in 0..model.shape.buckets {
            worker.sends_a_write(bucket, out);
            worker.writes_at_the_destination(bucket, out);
            worker.lets_go_by_its_clock(bucket, out);
        }
        worker.reads_the_copies(out);
        worker.starts_from_the_old_file(out);
    }
}

/// One worker in one state.
struct Of<'a> {
    model: &'a Model,
    state: &'a State,
    index: usize,
}

impl Of<'_> {
    fn me(&self) -> &Worker {
        &self.state.workers[self.index]
    }

    fn takes_part(&self) -> bool {
        self.model.shape.workers[self.index].connects > 0
    }

    /// A copy of the state, in which a worker is changed.
    fn changed(&self, change: impl FnOnce(&mut Worker)) -> State {
        let mut state = *self.state;
        change(&mut state.workers[self.index]);
        state
    }

    fn connection(&self, source: usize) -> Option<(usize, &Connection)> {
        let index = usize::from(self.me().connection[source]);
        self.state.connections.get(index).map(|it| (index, it))
    }

    /// Opens a connection, and asks for its name, the mark and the run id in one handshake.
    ///
    /// It is named after the last hold that this worker knows, not after what the process knows.
    fn connects(&self, source: usize, out: &mut Actions) {
        let me = self.me();
        if me.connects == 0 || me.connection[source] != NONE {
            return;
        }
        let free = self.state.connections.iter().position(|it| !it.alive);
        let index = free.expect("the shape opens too many connections");
        let mut state = self.changed(|worker| {
            worker.connects -= 1;
            worker.connection[source] = number(index);
        });
        state.connections[index] = Connection {
            alive: true,
            worker: number(self.index),
            source: number(source),
            name: self.name(source),
            ..Connection::DEAD
        };
        out.push_with("opens connection", number(index), state);
    }

    fn name(&self, source: usize) -> u8 {
        if self.model.omits(Omission::OwnName) {
            let colleagues = self.model.shape.colleagues(self.index);
            let known = (0..WORKERS)
                .filter(|worker| colleagues.has(*worker))
                .map(|worker| self.state.workers[worker].known[source]);
            return known.max().unwrap_or(0);
        }
        self.me().known[source]
    }

    /// Reads the reply of a handshake, which may be old by now.
    ///
    /// With news in it, the connection is closed. With less than the name says, it serves no moving key.
    fn takes_the_answer(&self, source: usize, out: &mut Actions) {
        let Some((index, connection)) = self.connection(source) else {
            return;
        };
        let Handshake::Answered(view) = connection.handshake else {
            return;
        };
        let mut state = *self.state;
        let me = &mut state.workers[self.index];
        let trusts_missing = self.model.omits(Omission::MissingIsDoubt) && !view.mark.armed;
        let trusts_lower = self.model.omits(Omission::LowerIsDoubt) && view.mark.armed;
        let handshake = &mut state.connections[index].handshake;
        if self.model.omits(Omission::Guard) || trusts_missing {
            *handshake = Handshake::Ready(view.run);
            me.run[source] = view.run;
        } else if !view.mark.armed || (view.mark.hold < connection.name && !trusts_lower) {
            *handshake = Handshake::Doubtful;
        } else if view.mark.hold > connection.name && self.model.omits(Omission::NewsRead) {
            *handshake = Handshake::Ready(view.run);
            me.known[source] = me.known[source].max(view.mark.hold);
            me.run[source] = view.mark.run;
        } else if view.mark.hold > connection.name {
            self.learn(me, source, view);
            state.kill(index);
        } else {
            *handshake = Handshake::Ready(view.run);
            if me.run[source] == NONE {
                me.run[source] = view.mark.run;
            }
            if trusts_lower || self.model.omits(Omission::RunInGreeting) {
                me.run[source] = view.run;
            }
        }
        out.push_with("takes the answer on connection", number(index), state);
    }

    /// Names a connection that was in doubt anew, and asks for the mark once more.
    fn asks_again(&self, source: usize, out: &mut Actions) {
        let Some((index, connection)) = self.connection(source) else {
            return;
        };
        if connection.handshake == Handshake::Doubtful {
            let mut state = *self.state;
            state.connections[index].name = self.name(source);
            state.connections[index].handshake = Handshake::Asked;
            out.push_with("asks again on connection", number(index), state);
        }
    }

    /// Sends a write over a connection whose run id is that of the mark.
    fn sends_a_write(&self, bucket: usize, out: &mut Actions) {
        let me = self.me();
        let source = self.model.shape.source_of(bucket);
        let Some((index, connection)) = self.connection(source) else {
            return;
        };
        let is_usable = connection.handshake == Handshake::Ready(me.run[source]);
        if is_usable && me.writes > 0 && me.routes[bucket] == Route::Before {
            let mut state = self.changed(|worker| worker.writes -= 1);
            let writes = &mut state.connections[index].writes[bucket];
            *writes = writes.with(self.write());
            out.push_with(SENDS[bucket], number(index), state);
        }
    }

    /// The number of its next write.
    fn write(&self) -> usize {
        self.index * 4 + usize::from(self.me().writes)
    }

    /// Gives up a request and its connection. The server may execute the request all the same.
    fn times_out(&self, source: usize, out: &mut Actions) {
        let Some((index, connection)) = self.connection(source) else {
            return;
        };
        if !connection.is_idle() && self.me().timeouts > 0 {
            let state = self.changed(|worker| {
                worker.timeouts -= 1;
                worker.connection[source] = NONE;
            });
            out.push_with("times out, and abandons connection", number(index), state);
        }
    }

    /// Reads the mark of a source, told by the channel or by the clock.
    fn reads_the_mark(&self, source: usize, out: &mut Actions) {
        let view = self.state.view(source);
        if !self.takes_part() || !view.mark.armed || view.mark.hold < self.me().known[source] {
            return;
        }
        let state = self.changed(|worker| self.learn(worker, source, view));
        if state != *self.state {
            out.push_with("reads mark with hold", view.mark.hold, state);
        }
    }

    /// Obeys a mark. Who has been told that a bucket has moved stays with that.
    fn learn(&self, worker: &mut Worker, source: usize, view: View) {
        let mark = view.mark;
        if mark.hold < worker.known[source] {
            return;
        }
        let lets_go = mark.hold > worker.known[source] || !self.model.omits(Omission::NewsRead);
        if mark.hold > worker.known[source] {
            worker.drained[source] = 0;
            worker.vouched[source] = NONE;
        }
        worker.known[source] = mark.hold;
        worker.run[source] = mark.run;
        for bucket in self.model.shape.buckets_of(source) {
            let route = &mut worker.routes[bucket];
            if mark.moved.has(bucket) {
                *route = Route::After;
            } else if *route != Route::After && lets_go {
                let is_held = mark.buckets.has(bucket) && mark.decision == Decision::Open;
                *route = if is_held { Route::Held } else { Route::Before };
            }
        }
        self.forget_the_drain(worker, source);
    }

    /// Forgets that it has drained, when nothing is held any more.
    fn forget_the_drain(&self, worker: &mut Worker, source: usize) {
        let is_held = |bucket| worker.routes[bucket] == Route::Held;
        if !self.model.shape.buckets_of(source).any(is_held) {
            worker.drained[source] = 0;
            worker.vouched[source] = NONE;
        }
    }

    /// Reads which commits the marks of other servers know.
    fn reads_the_copies(&self, out: &mut Actions) {
        let copies = self.state.sources.iter().map(|source| source.mark.copies);
        let copies = copies.fold(self.state.destination.copies, Set::union);
        let state = self.changed(|worker| {
            for bucket in (0..self.model.shape.buckets).filter(|bucket| copies.has(*bucket)) {
                worker.routes[bucket] = Route::After;
            }
            for source in 0..self.model.shape.sources {
                self.forget_the_drain(worker, source);
            }
        });
        if self.takes_part() && state != *self.state {
            out.push("reads the copies of commits", state);
        }
    }

    /// Step 2, *drain*: nothing is in flight on its connection, so it vouches for it.
    fn drains(&self, source: usize, out: &mut Actions) {
        let me = self.me();
        let holds = |bucket| me.routes[bucket] == Route::Held;
        if me.drained[source] >= me.known[source] || !self.model.shape.buckets_of(source).any(holds)
        {
            return;
        }
        let connection = self.connection(source);
        let is_busy = connection.is_some_and(|(_, it)| !it.is_idle());
        if is_busy && !self.model.omits(Omission::Drain) {
            return;
        }
        let state = self.changed(|worker| {
            worker.drained[source] = worker.known[source];
            worker.vouched[source] = worker.connection[source];
        });
        out.push_with("has drained for hold", me.known[source], state);
    }

    /// Step 6, *decide*: the script at the source writes `abort` if nothing was decided, and tells what was.
    fn proposes_to_abort(&self, source: usize, out: &mut Actions) {
        let me = self.me();
        let holds = |bucket| me.routes[bucket] == Route::Held;
        if !self.model.shape.buckets_of(source).any(holds) {
            return;
        }
        let mut state = *self.state;
        let run = state.sources[source].run;
        let mark = &mut state.sources[source].mark;
        let is_same = mark.armed && mark.run == run && mark.hold == me.known[source];
        let may_abort = mark.decision == Decision::Open
            || (self.model.omits(Omission::FirstProposal) && mark.decision == Decision::Commit);
        if is_same && may_abort {
            mark.decision = Decision::Abort;
            mark.moved = mark.moved.minus(mark.buckets);
            out.push_with("aborts hold", me.known[source], state);
        }
    }

    /// Writes at the new place. The reply comes at once: nothing depends on its delay.
    fn writes_at_the_destination(&self, bucket: usize, out: &mut Actions) {
        let me = self.me();
        if me.routes[bucket] != Route::After || me.writes == 0 {
            return;
        }
        if !self.state.truth.committed.has(bucket) {
            out.violate(
                "writes at the destination",
                "I2: a request is executed at the destination before the commit",
            );
        }
        let mut state = self.changed(|worker| worker.writes -= 1);
        for writes in [
            &mut state.destination.data[bucket],
            &mut state.truth.acknowledged[bucket],
        ] {
            *writes = writes.with(self.write());
        }
        out.push("writes at the destination", state);
    }

    fn lets_go_by_its_clock(&self, bucket: usize, out: &mut Actions) {
        if self.model.omits(Omission::Obedience) && self.me().routes[bucket] == Route::Held {
            let state = self.changed(|worker| worker.routes[bucket] = Route::Before);
            out.push("lets go by its own clock", state);
        }
    }

    /// Is killed, and started anew with the old file. What was in flight may still be executed.
    fn starts_from_the_old_file(&self, out: &mut Actions) {
        if self.me().starts > 0 {
            let mut state = self.changed(|worker| {
                *worker = Worker {
                    known: [0; SOURCES],
                    run: [NONE; SOURCES],
                    routes: [Route::Before; 2],
                    connection: [NONE; SOURCES],
                    drained: [0; SOURCES],
                    vouched: [NONE; SOURCES],
                    starts: worker.starts - 1,
                    ..*worker
                }
            });
            for source in 0..SOURCES {
                if let Some((index, connection)) = self.connection(source)
                    && connection.is_idle()
                {
                    state.kill(index);
                }
            }
            out.push("starts anew from the old file", state);
        }
    }
}

const SENDS: [&str; 2] = [
    "sends a write of bucket 0 over connection",
    "sends a write of bucket 1 over connection",
];

/// A small index as the number that the state has room for.
fn number(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(NONE)
}
