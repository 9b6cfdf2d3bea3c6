-- How many entries there are; asked only where not all of them are read.
SELECT count(*) AS entries
FROM {schema}.pg_stat_statements(false) s
