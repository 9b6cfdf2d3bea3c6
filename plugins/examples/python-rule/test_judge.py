import unittest

from judge import Settings, judge

SETTINGS = Settings.read("{}")


def sessions(datname: str, **states: int) -> list[tuple[dict[str, str], float]]:
    return [({"datname": datname, "state": state}, float(count)) for state, count in states.items()]


class Judge(unittest.TestCase):
    def test_a_datname_in_which_most_sessions_are_idle_is_raised(self):
        [idle] = judge(sessions("app", idle=45, active=5), SETTINGS)
        self.assertTrue(idle.raises)
        self.assertEqual(idle.title, "90% of the sessions in app are idle")
        self.assertEqual(idle.detail, "45 of 50 sessions in app wait for their clients and use connections that others may need.")

    def test_a_share_between_the_thresholds_is_held_and_one_back_at_clear_is_fine(self):
        [held] = judge(sessions("app", idle=75, active=25), SETTINGS)
        self.assertFalse(held.raises)
        self.assertEqual(judge(sessions("app", idle=70, active=30), SETTINGS), [])

    def test_datnames_with_few_sessions_are_skipped_and_each_datname_is_judged_by_itself(self):
        self.assertEqual(judge(sessions("app", idle=19), SETTINGS), [])
        found = judge(sessions("app", idle=19) + sessions("shop", idle=20) + sessions("work", active=99), SETTINGS)
        self.assertEqual([idle.datname for idle in found], ["shop"])

    def test_no_sessions_are_no_division_by_zero(self):
        self.assertEqual(judge(sessions("app", idle=0), Settings(min_sessions=0)), [])

    def test_mistakes_in_the_settings_name_their_key(self):
        cases = {
            '{"shore": 1}': "settings.shore: unknown key; the keys are share, clear, min_sessions",
            '{"share": "much"}': "settings.share: give a number",
            '{"share": true}': "settings.share: give a number",
            '{"clear": 0.9}': "settings.clear: 0.9 is above `share` (0.8); give at most that",
        }
        for text, expected in cases.items():
            with self.subTest(text), self.assertRaises(ValueError) as raised:
                Settings.read(text)
            self.assertEqual(str(raised.exception), expected)


if __name__ == "__main__":
    unittest.main()
