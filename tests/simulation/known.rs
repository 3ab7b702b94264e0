//! Runs whose course is known: only the pieces of reads and writes are random.

use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

use payment_latency_api::limits::CONNECTION_LIFETIME_MAX_S;

use crate::dice::Dice;
use crate::world::{Profile, World};

/// An idle connection takes a payment at once: a payment does not wait to be coalesced, or for anything else.
pub(crate) async fn a_payment_takes_no_time_of_the_pools_own() {
    let (world, pool) = World::start(Dice::new(1), Profile::quiet());
    world.recover(&pool).await;
    let began = Instant::now();
    let payments: Vec<_> = (0..20).map(|_| world.payment(None, 0)).collect();
    for payment in &payments[..10] {
        let ended = world.attempt(payment, Duration::from_secs(1), 0).await;
        assert!(matches!(ended, Some(Ok(_))), "{ended:?}");
    }
    for pair in payments[10..].chunks(2) {
        let limit = Duration::from_secs(1);
        let ended = tokio::join!(
            world.attempt(&pair[0], limit, 0),
            world.attempt(&pair[1], limit, 0),
        );
        assert!(matches!(ended, (Some(Ok(_)), Some(Ok(_)))), "{ended:?}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    world.end(&pool).await;
}

/// While nobody can log in, connections are kept beyond their lifetime, but not longer than a proxy
/// keeps them; afterwards the pool is whole, and closes no young one (`World::check_goodbye`).
pub(crate) async fn no_connection_outlives_a_proxys_limit() {
    let (world, pool) = World::start(Dice::new(2), Profile::quiet());
    world.recover(&pool).await;
    let now = Instant::now();
    let last = now + Duration::from_secs(CONNECTION_LIFETIME_MAX_S);
    let minute = Duration::from_secs(60);
    world.unauthorised_until.set(last + minute);
    sleep_until(last - minute).await;
    assert_eq!(pool.figures().open, 3, "they are still needed");
    sleep_until(last + Duration::from_secs(2)).await;
    assert_eq!(pool.figures().open, 0, "they are too old");
    world.heal();
    world.recover(&pool).await;
    sleep(minute).await;
    assert_eq!(pool.figures().open, 3);
    world.end(&pool).await;
}

/// Each of the three connections is validated ten times in ten intervals, or once less: half of them
/// stay for payments, so one of them may have to wait for the next round of maintenance.
pub(crate) async fn idle_connections_are_validated_once_an_interval() {
    let (world, pool) = World::start(Dice::new(3), Profile::quiet());
    world.recover(&pool).await;
    let before = world.validations.get();
    sleep(world.profile.pool.idle_probe_interval * 10).await;
    let asked = world.validations.get() - before;
    assert!((27..=30).contains(&asked), "{asked} validations");
    world.end(&pool).await;
}

/// They are never all idle at once; still there are no more than the pool's size once the old ones have
/// passed their lifetime.
pub(crate) async fn an_old_connection_goes_also_while_another_one_is_busy() {
    let mut profile = Profile::quiet();
    profile.commit_ms = (500, 500);
    let lifetime = profile.pool.connection_lifetime;
    let (world, pool) = World::start(Dice::new(4), profile);
    world.recover(&pool).await;
    sleep(lifetime * 85 / 100).await;
    let ends = Instant::now() + lifetime * 20 / 100;
    while Instant::now() < ends {
        let payment = world.payment(None, 0);
        let ended = world.attempt(&payment, Duration::from_secs(1), 0).await;
        assert!(matches!(ended, Some(Ok(_))), "{ended:?}");
    }
    assert_eq!(pool.figures().open, 3);
    world.end(&pool).await;
}
