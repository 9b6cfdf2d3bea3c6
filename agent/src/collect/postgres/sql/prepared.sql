-- Transactions that are prepared and neither committed nor rolled back.
SELECT count(*)::float8 AS prepared,
       coalesce(max(extract(epoch FROM clock_timestamp() - p.prepared)), 0)::float8 AS age_max
FROM pg_prepared_xacts p
