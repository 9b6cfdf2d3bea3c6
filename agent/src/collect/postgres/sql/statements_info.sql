-- How often entries were evicted, when all were reset, and the time of the server's clock.
SELECT i.dealloc,
       extract(epoch FROM i.stats_reset)::float8 AS stats_reset,
       extract(epoch FROM clock_timestamp())::float8 AS taken_at
FROM {schema}.pg_stat_statements_info i
