"""The exchange itself: schedules, waterfall, funding and transfers over ports. It holds no money."""
