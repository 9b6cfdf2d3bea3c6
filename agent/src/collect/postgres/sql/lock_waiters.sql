-- How many sessions wait for a lock, and how many queue for the lock manager itself. The query does not read the lock table.
SELECT count(*) FILTER (WHERE s.wait_event_type = 'Lock') AS waiters,
       count(*) FILTER (WHERE s.wait_event_type = 'LWLock' AND s.wait_event = 'LockManager') AS lock_manager_waits
FROM pg_stat_get_activity(NULL) s
