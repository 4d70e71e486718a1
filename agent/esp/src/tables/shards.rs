//! A map in parts that snapshots share: the next one copies only the part that changes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use espalier_model::identity::Name;
use espalier_model::sa::Spi;

/// With a thousand entries a change copies about sixteen, and a clone counts up as many parts as a few cache lines hold.
const PARTS: usize = 64;

/// The map.
#[derive(Clone, Debug)]
pub(super) struct Shards<K, V>([Arc<HashMap<K, V>>; PARTS]);

/// A key that says in which part it lies.
pub(super) trait Key: Hash + Eq + Clone {
    /// Returns a number that differs among keys.
    fn spread(&self) -> u64;
}

impl Key for Spi {
    /// SPIs are drawn at random.
    fn spread(&self) -> u64 {
        self.get().into()
    }
}

impl Key for Name {
    fn spread(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

impl<K: Key, V: Clone> Shards<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(part(key))?.get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if let Some(map) = self.0.get_mut(part(&key)) {
            Arc::make_mut(map).insert(key, value);
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(map) = self.0.get_mut(part(key)).filter(|map| map.contains_key(key)) {
            Arc::make_mut(map).remove(key);
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().flat_map(|map| map.values())
    }
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Arc::default()))
    }
}

fn part<K: Key>(key: &K) -> usize {
    let parts = u64::try_from(PARTS).unwrap_or(1);
    usize::try_from(key.spread() % parts).unwrap_or_default()
}
