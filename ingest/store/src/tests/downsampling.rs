//! Old metrics with fewer samples.

use super::*;
use crate::Downsampling;

const DAY_NS: i64 = 86_400_000_000_000;

#[tokio::test]
async fn old_days_are_thinned_once_and_what_comes_late_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = Store::open(config(dir.path()), clock.clone()).await.unwrap();
    store.set_downsampling(Downsampling::parse(&["7d:1m".to_owned()]).unwrap());
    store.write(write(samples("m", 0..2, 0..180))).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.downsample().await.unwrap(), 0, "they are young");
    clock.0.fetch_add(8 * DAY_NS, Ordering::Relaxed);
    assert_eq!(store.downsample().await.unwrap(), 1);
    let values = |block: &SampleBlock| block.values.clone();
    // Of the minutes that end at 0, 60, 120 s and later.
    let block = read_samples(&store, vec![Matcher::equal("instance", "i0")]).await;
    assert_eq!(values(&block), [0.0, 60.0, 120.0, 179.0]);
    assert_eq!(store.downsample().await.unwrap(), 0, "once is enough");
    store.write(write(samples("m", 0..1, 30..35))).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.downsample().await.unwrap(), 1);
    store.compact().await.unwrap();
    assert_eq!(store.downsample().await.unwrap(), 0, "both parts were of one interval");
    killed(store).await;
    let store = Store::open(config(dir.path()), clock).await.unwrap();
    store.set_downsampling(Downsampling::parse(&["7d:1m".to_owned()]).unwrap());
    assert_eq!(store.downsample().await.unwrap(), 0, "it is remembered");
    let block = read_samples(&store, vec![Matcher::equal("instance", "i0")]).await;
    assert_eq!(values(&block), [0.0, 60.0, 120.0, 179.0]);
}
