-- A statement with the right that its rows depend on. The right is checked before the first row is read, which OFFSET 0 keeps the planner
-- from delaying, and once more when rows are returned. A statement without rows has one row with the right alone. Without the right the
-- statement does not run at all: the second OFFSET 0 keeps the condition above everything that the statement reads.
SELECT b.has_right AND (SELECT pg_has_role(current_user, '{right}', 'USAGE')) AS has_right,
       f.*
FROM (SELECT pg_has_role(current_user, '{right}', 'USAGE') AS has_right OFFSET 0) b
LEFT JOIN LATERAL (SELECT true AS is_fact, s.* FROM (
{statement}
) s WHERE b.has_right OFFSET 0) f ON true
