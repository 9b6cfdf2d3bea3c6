//! A small social-media application: people read feeds and write posts, campaigns spend money, everything is counted.
//!
//! Its workers outlive any trouble with the servers: a step that fails or takes too long costs the worker its
//! sessions, and it opens new ones a little later.

use std::convert::Infallible;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::select;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::postgres::{PostgresError, PostgresServer, SUPERUSER};
use super::redis::{RedisServer, RedisServerError, connect as connect_redis};
use super::session::{PostgresAddress, Session, SessionError};

/// The application's database, and the role that owns it.
pub const DATNAME: &str = "app";
pub const ROLE: &str = "app";

const SCHEMA: &str = include_str!("schema.sql");

/// The number of rows that the schema loads.
const USERS: i64 = 2_000;
const CAMPAIGNS: i64 = 50;
const POSTS: i64 = 8_000;

const STEP_DEADLINE: Duration = Duration::from_secs(5);
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
const PROFILE_TTL_SECONDS: u64 = 30;

/// The workers, with the average pause between two steps: some seventy steps a second in all. They take less than a tenth of a core, so
/// that the machine is free for the agent.
const WORKERS: [(Work, Duration); 7] = [
    (Work::ReadFeed, Duration::from_millis(60)),
    (Work::ReadFeed, Duration::from_millis(90)),
    (Work::CacheProfile, Duration::from_millis(50)),
    (Work::RecordEvent, Duration::from_millis(80)),
    (Work::WritePost, Duration::from_millis(250)),
    (Work::SpendBudget, Duration::from_millis(300)),
    (Work::ReportCampaigns, Duration::from_millis(2_000)),
];

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Connect(#[from] RedisServerError),
    #[error("a statement failed")]
    Sql(#[from] tokio_postgres::Error),
    #[error("a Redis command failed")]
    Redis(#[from] redis::RedisError),
    #[error("a step took longer than {STEP_DEADLINE:?}")]
    Deadline,
}

#[derive(Debug, Clone, Copy)]
enum Work {
    ReadFeed,
    CacheProfile,
    RecordEvent,
    WritePost,
    SpendBudget,
    ReportCampaigns,
}

/// The application, installed on a primary and a Redis.
#[derive(Debug, Clone)]
pub struct Application {
    primary: PostgresAddress,
    redis_url: String,
}

impl Application {
    /// Creates the role, the database and some thousand rows, which takes about a second.
    pub async fn install(primary: &PostgresServer, redis: &RedisServer) -> Result<Self, PostgresError> {
        primary.create_database(DATNAME).await?;
        let superuser = primary.connect(SUPERUSER, DATNAME).await?;
        superuser.run(&format!("CREATE ROLE {ROLE} LOGIN; ALTER DATABASE {DATNAME} OWNER TO {ROLE}")).await?;
        let owner = primary.connect(ROLE, DATNAME).await?;
        owner.run(SCHEMA).await?;
        Ok(Self { primary: primary.address().clone(), redis_url: redis.url() })
    }

    /// Lets the workers run until `stop`.
    pub fn spawn(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        for (work, pause) in WORKERS {
            let worker = Worker { application: self.clone(), work, pause };
            let stop = stop.clone();
            tasks.spawn(async move {
                select! {
                    () = stop.cancelled() => {}
                    () = worker.work() => {}
                }
            });
        }
    }
}

struct Worker {
    application: Application,
    work: Work,
    pause: Duration,
}

impl Worker {
    async fn work(&self) {
        loop {
            let Err(error) = self.work_until_failure().await;
            tracing::debug!(work = ?self.work, %error, "the demo application reconnects");
            sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn work_until_failure(&self) -> Result<Infallible, StepError> {
        let session = self.application.primary.connect(ROLE, DATNAME, "app").await?;
        let mut redis = connect_redis(&self.application.redis_url).await?;
        loop {
            timeout(STEP_DEADLINE, self.step(&session, &mut redis)).await.map_err(|_| StepError::Deadline)??;
            // People do not click in step with each other.
            sleep(self.pause.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    async fn step(&self, session: &Session, redis: &mut MultiplexedConnection) -> Result<(), StepError> {
        match self.work {
            Work::ReadFeed => read_feed(session).await,
            Work::CacheProfile => cache_profile(session, redis).await,
            Work::RecordEvent => record_event(session).await,
            Work::WritePost => write_post(session, redis).await,
            Work::SpendBudget => spend_budget(session).await,
            Work::ReportCampaigns => report_campaigns(session).await,
        }
    }
}

async fn read_feed(session: &Session) -> Result<(), StepError> {
    let newest = "SELECT id, body, likes, created_at FROM posts WHERE author_id = $1 ORDER BY created_at DESC LIMIT 20";
    session.query(newest, &[&popular(USERS)]).await?;
    Ok(())
}

/// Reads a profile from Redis, and from the database when Redis lacks it.
async fn cache_profile(session: &Session, redis: &mut MultiplexedConnection) -> Result<(), StepError> {
    let user = popular(USERS);
    let key = format!("user:{user}");
    let cached: Option<String> = redis::cmd("GET").arg(&key).query_async(redis).await?;
    if cached.is_none() {
        let row = session.query_one("SELECT handle, name, followers FROM users WHERE id = $1", &[&user]).await?;
        let profile = serde_json::json!({
            "handle": row.try_get::<_, String>(0)?,
            "name": row.try_get::<_, String>(1)?,
            "followers": row.try_get::<_, i32>(2)?,
        });
        let set = redis::cmd("SET").arg(&key).arg(profile.to_string()).arg("EX").arg(PROFILE_TTL_SECONDS).to_owned();
        set.exec_async(redis).await?;
    }
    Ok(())
}

async fn record_event(session: &Session) -> Result<(), StepError> {
    let post = popular(POSTS);
    if fastrand::u8(..5) == 0 {
        session.execute("UPDATE posts SET likes = likes + 1 WHERE id = $1", &[&post]).await?;
    }
    let kind = fastrand::choice(["view", "view", "like", "click"]);
    session.execute("INSERT INTO analytics_events (post_id, kind) VALUES ($1, $2)", &[&post, &kind]).await?;
    Ok(())
}

async fn write_post(session: &Session, redis: &mut MultiplexedConnection) -> Result<(), StepError> {
    let author = popular(USERS);
    let body = "lorem ipsum ".repeat(fastrand::usize(1..12));
    session.execute("INSERT INTO posts (author_id, body) VALUES ($1, $2)", &[&author, &body]).await?;
    redis::cmd("DEL").arg(format!("user:{author}")).exec_async(redis).await?;
    Ok(())
}

async fn spend_budget(session: &Session) -> Result<(), StepError> {
    // The first campaign is left to the lock pile-up, so that it cannot stop this worker.
    let campaign = fastrand::i64(2..=CAMPAIGNS);
    let spend = "UPDATE campaigns SET spent_cents = spent_cents + $2, updated_at = now() WHERE id = $1";
    session.execute(spend, &[&campaign, &fastrand::i64(1..500)]).await?;
    Ok(())
}

async fn report_campaigns(session: &Session) -> Result<(), StepError> {
    let report = "SELECT c.id, c.name, count(e.id) AS events
                  FROM campaigns AS c
                  JOIN posts AS p ON p.campaign_id = c.id
                  JOIN analytics_events AS e ON e.post_id = p.id
                  WHERE c.status = 'running' AND e.happened_at > now() - interval '1 hour'
                  GROUP BY c.id ORDER BY events DESC LIMIT 10";
    session.query(report, &[]).await?;
    Ok(())
}

/// A random number of `1..=count`. Small numbers are far more frequent, as with real people and posts.
fn popular(count: i64) -> i64 {
    let skew = fastrand::f64().powi(3);
    // Far below 2^52, so nothing is lost.
    1 + (count as f64 * skew) as i64
}
