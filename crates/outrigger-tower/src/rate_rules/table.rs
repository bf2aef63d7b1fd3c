use std::sync::Arc;
use std::time::Instant;

use http::Request;
use outrigger_core::{Context, NormalPath};
use outrigger_limit::{Admitted, ConfigError, KeyedRateLimit, Limited, RateLimit, RateLimitConfig};

use super::RateRule;
use super::rule::RequestHead;
use crate::KeyOf;

/// The named rate limits of one place, with their buckets. A clone is another handle to them.
#[derive(Clone, Debug)]
pub struct RateRules {
    rules: Arc<[Rule]>,
    secret: u128,
}

/// A rule and its buckets.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) about: RateRule,
    bucket: Bucket,
}

#[derive(Clone, Debug)]
enum Bucket {
    One(Arc<RateLimit>),
    Keyed(Arc<KeyedRateLimit>, KeyOf),
}

impl RateRules {
    /// Full buckets. `secret` keeps callers from choosing their bucket: random, another in each
    /// process.
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range.
    pub fn new(rules: Vec<RateRule>, secret: u128, now: Instant) -> Result<Self, ConfigError> {
        let rules = rules.into_iter().map(|about| Rule::new(about, secret, now));
        Ok(Self { rules: rules.collect::<Result<_, _>>()?, secret })
    }

    /// The limits that follow these: those that stay keep their buckets.
    ///
    /// A rule is the same if it has the same name and `per`, or, renamed, the same limit and
    /// `per`. Unchanged, it keeps the very bucket; with another rate or burst the tokens that are
    /// left stay, as far as the new burst holds them, and none are added. So over any span, and any
    /// number of reloads, no more is admitted than the most generous of the limits in it allows,
    /// and no less than the strictest. (To keep the share that a bucket is filled to would not do:
    /// one that a small burst refills in a second would be full under the large one.)
    ///
    /// # Errors
    /// [`ConfigError`] names the value that is out of range; nothing changes then.
    pub fn reload(&self, rules: Vec<RateRule>, now: Instant) -> Result<Self, ConfigError> {
        for rule in &rules {
            rule.limit.validate()?;
        }
        let mut left: Vec<Option<&Rule>> = self.rules.iter().map(Some).collect();
        let mut take = |same: &dyn Fn(&Rule) -> bool| {
            left.iter_mut().find(|old| old.is_some_and(same)).and_then(Option::take)
        };
        // Names first, over all rules: a renamed one may not take what another's name asks for.
        let by_name: Vec<Option<&Rule>> = rules
            .iter()
            .map(|new| take(&|old| old.about.name == new.name && old.about.per == new.per))
            .collect();
        let next = rules.into_iter().zip(by_name).map(|(new, old)| {
            let renamed = |old: &Rule| old.about.limit == new.limit && old.about.per == new.per;
            match old.or_else(|| take(&renamed)) {
                Some(old) => old.follow(new, now),
                None => Rule::new(new, self.secret, now),
            }
        });
        Ok(Self { rules: next.collect::<Result<_, _>>()?, secret: self.secret })
    }

    /// Whether there is no limit at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// The rules that a request has to pass.
    pub(super) fn matching<'a, B>(
        &'a self,
        request: &'a Request<B>,
    ) -> impl Iterator<Item = &'a Rule> + 'a {
        let mut path = None;
        self.rules.iter().filter(move |rule| {
            let Some(matches) = &rule.about.matches else { return true };
            let raw = request.uri().path();
            // Normalised when the first rule asks; a path that is normal already is not copied.
            let normal = path.get_or_insert_with(|| NormalPath::new(raw));
            matches(&RequestHead {
                method: request.method(),
                path: normal.as_ref().map_or(raw, NormalPath::as_str),
                query: request.uri().query(),
                headers: request.headers(),
            })
        })
    }
}

impl Rule {
    fn new(about: RateRule, secret: u128, now: Instant) -> Result<Self, ConfigError> {
        let limit = about.limit.clone();
        let bucket = match &about.per {
            None => Bucket::One(Arc::new(RateLimit::new(limit, now)?)),
            Some(per) => {
                Bucket::Keyed(Arc::new(KeyedRateLimit::new(limit, secret, now)?), per.clone())
            }
        };
        Ok(Self { about, bucket })
    }

    /// The same buckets under another description.
    fn follow(&self, about: RateRule, now: Instant) -> Result<Self, ConfigError> {
        if self.config() != about.limit {
            let limit = about.limit.clone();
            match &self.bucket {
                Bucket::One(bucket) => bucket.reconfigure(limit, now)?,
                Bucket::Keyed(buckets, _) => buckets.reconfigure(limit, now)?,
            }
        }
        Ok(Self { about, bucket: self.bucket.clone() })
    }

    fn config(&self) -> RateLimitConfig {
        match &self.bucket {
            Bucket::One(bucket) => bucket.config(),
            Bucket::Keyed(buckets, _) => buckets.config(),
        }
    }

    pub(super) fn peek<B>(
        &self,
        context: &Context,
        request: &Request<B>,
        now: Instant,
    ) -> Result<Admitted, Limited> {
        match &self.bucket {
            Bucket::One(bucket) => bucket.peek(now),
            Bucket::Keyed(buckets, per) => {
                buckets.peek(per.key(buckets.key(), context, request), now)
            }
        }
    }

    pub(super) fn try_acquire<B>(
        &self,
        context: &Context,
        request: &Request<B>,
        now: Instant,
    ) -> Result<Admitted, Limited> {
        match &self.bucket {
            Bucket::One(bucket) => bucket.try_acquire(now),
            Bucket::Keyed(buckets, per) => {
                buckets.try_acquire(per.key(buckets.key(), context, request), now)
            }
        }
    }
}

#[cfg(test)]
mod tests;
