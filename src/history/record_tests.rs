use super::*;

#[test]
fn weeks_are_iso_weeks() {
    for (at, expected) in [
        ("2026-11-21T08:00:00Z", "2026-W47"),
        ("2027-01-01T00:00:00Z", "2026-W53"),
        ("2024-12-30T00:00:00Z", "2025-W01"),
        // Weeks are those of UTC, whatever the caller's zone: half past midnight on Monday in Berlin is still Sunday.
        ("2026-03-30T00:30:00+02:00", "2026-W13"),
        ("2026-03-30T02:30:00+02:00", "2026-W14"),
    ] {
        assert_eq!(week(at.parse().unwrap()), expected);
    }
}
