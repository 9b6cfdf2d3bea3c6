-- Whether this role reads what bloat is estimated from; pg_stats would be empty without a word.
SELECT bool_and(has_column_privilege('pg_catalog.pg_statistic', c.name, 'SELECT')) AS reads_statistics
FROM unnest($1::text[]) AS c (name)
