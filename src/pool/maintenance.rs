//! Looks after idle connections: notices when one is lost, keeps them alive, closes the old ones.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Closed, Inner, Member, Stream};
use crate::limits::MAINTENANCE_INTERVAL_MS;
use crate::pg::connection::Broken;

/// Runs until the pool closes.
pub(super) async fn run<S: Stream>(pool: Rc<Inner<S>>) {
    poll_fn(|cx| {
        *pool.maintenance.borrow_mut() = cx.waker().clone();
        Poll::Ready(())
    })
    .await;
    let mut ticks = interval(Duration::from_millis(MAINTENANCE_INTERVAL_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !pool.closing.get() {
        let ticked = poll_fn(|cx| {
            pool.drop_lost(cx);
            ticks.poll_tick(cx)
        });
        ticked.await;
        pool.keep();
    }
}

impl<S: Stream> Inner<S> {
    fn drop_lost(&self, cx: &mut Context<'_>) {
        let mut index = 0;
        while let Some(lost) = self.poll_idle_at(index, cx) {
            match lost {
                Some((member, broken)) => self.lose_idle(member, &broken),
                None => index += 1,
            }
        }
    }

    /// Looks at the idle connection number `index`, if there is one, and takes it out if it is lost.
    fn poll_idle_at(
        &self,
        index: usize,
        cx: &mut Context<'_>,
    ) -> Option<Option<(Box<Member<S>>, Broken)>> {
        let mut idle = self.idle.borrow_mut();
        Some(match idle.get_mut(index)?.connection.poll_idle(cx) {
            Poll::Ready(broken) => Some((idle.remove(index), broken)),
            Poll::Pending => None,
        })
    }

    /// One round over the idle connections.
    fn keep(self: &Rc<Self>) {
        let now = Instant::now();
        // Half of them at a time, so that payments find a connection meanwhile.
        let half = self.idle.borrow().len().div_ceil(2);
        for _ in 0..half {
            if let Some(member) = self.remove_idle(|member| self.must_validate(member, now)) {
                self.validate(member);
            }
        }
        while let Some(member) = self.remove_idle(|member| now >= member.ends) {
            self.ageing.set(false);
            self.retire(member, Closed::Expired);
        }
        if self.open.get() > self.settings.size {
            let idle = self.idle.borrow();
            let first = idle.iter().map(|member| member.expires).min();
            // The one that is too old may be busy; then it is waited for.
            let is_known = idle.len() == self.open.get() || first.is_some_and(|first| first <= now);
            let first = first.filter(|_| is_known);
            drop(idle);
            if let Some(member) = self.remove_idle(|member| Some(member.expires) == first) {
                self.ageing.set(false);
                self.retire(member, Closed::Expired);
            }
        }
        let old = self
            .idle
            .borrow()
            .iter()
            .any(|member| now >= member.expires);
        if old && !self.ageing.replace(true) {
            self.wanted.notify_one();
        }
    }

    fn remove_idle(&self, wanted: impl Fn(&Member<S>) -> bool) -> Option<Box<Member<S>>> {
        let mut idle = self.idle.borrow_mut();
        let index = idle.iter().position(|member| wanted(member))?;
        Some(idle.remove(index))
    }
}
