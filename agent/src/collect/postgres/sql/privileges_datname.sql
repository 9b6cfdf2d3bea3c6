-- Whether this role may read the statistics from which bloat is estimated. Without this right pg_stats is empty and raises no error.
SELECT bool_and(has_column_privilege('pg_catalog.pg_statistic', c.name, 'SELECT')) AS reads_statistics
FROM unnest($1::text[]) AS c (name)
