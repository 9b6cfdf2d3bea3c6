-- How many entries exist. The query runs only if not all of them are read.
SELECT count(*) AS entries
FROM {schema}.pg_stat_statements(false) s
