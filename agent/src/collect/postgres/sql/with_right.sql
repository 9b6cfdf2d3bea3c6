-- A statement and the right that its rows depend on: asked before the first row is read, which OFFSET 0 keeps the planner from putting off,
-- and once more when there are rows to return. A statement without rows has one that holds the right alone. Without the right, the statement
-- is not run at all: the second OFFSET 0 keeps the condition above everything that the statement reads.
SELECT b.has_right AND (SELECT pg_has_role(current_user, '{right}', 'USAGE')) AS has_right,
       f.*
FROM (SELECT pg_has_role(current_user, '{right}', 'USAGE') AS has_right OFFSET 0) b
LEFT JOIN LATERAL (SELECT true AS is_fact, s.* FROM (
{statement}
) s WHERE b.has_right OFFSET 0) f ON true
