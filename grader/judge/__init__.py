"""The trusted side: collects the checks of a kata once, runs them against an attempt, decides."""
