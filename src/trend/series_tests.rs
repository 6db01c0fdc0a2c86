use super::*;

fn read(text: &str) -> Result<Series, CsvError> {
    Series::from_csv(text.as_bytes())
}

fn bad_rows(text: &str) -> Vec<(u64, String)> {
    match read(text) {
        Err(CsvError::Rows { rows, .. }) => rows.into_iter().map(|row| (row.line, row.problem)).collect(),
        other => panic!("not a list of bad rows: {other:?}"),
    }
}

#[test]
fn reads_columns_by_name_whatever_their_order_case_and_company() {
    let series = read("\u{feff}Seconds, branch ,TIME,commit\r\n12.5,main,2026-01-05T08:00:00+01:00,\"a,b\"\r\n").unwrap();
    let point = &series.points()[0];
    assert_eq!(point.value, 12.5);
    assert_eq!(point.at.to_string(), "2026-01-05T07:00:00Z");
    assert_eq!(point.commit.as_deref(), Some("a,b"));
}

#[test]
fn sorts_by_time_and_keeps_the_order_of_equal_times() {
    let series = read("time,commit,seconds\n2026-01-02,b,2\n2026-01-01,a,1\n2026-01-02,c,3\n").unwrap();
    assert_eq!(series.values(), [1.0, 2.0, 3.0]);
}

#[test]
fn times_without_a_zone_are_utc_and_numbers_are_seconds_since_1970() {
    let series = read("time,commit,seconds\n0,,1\n1970-01-01T00:00:01.5,,1\n1970-01-01 00:00:02,,1\n3.25,,1\n1970-01-02,,1\n").unwrap();
    let times: Vec<i64> = series.points().iter().map(|p| p.at.as_millisecond()).collect();
    assert_eq!(times, [0, 1500, 2000, 3250, 86_400_000]);
    assert_eq!(series.points()[0].commit, None);
}

#[test]
fn names_every_bad_row_with_its_line() {
    let rows = bad_rows(
        "time,commit,seconds\n2026-01-01,a,1\nyesterday,a,1\n2026-01-01,\"a\nb\",-1\n2026-01-01,a,NaN\n2026-01-01,a,inf\n2026-01-01,a,\n2026-01-01,a\n",
    );
    let lines: Vec<u64> = rows.iter().map(|row| row.0).collect();
    assert_eq!(lines, [3, 4, 6, 7, 8, 9]);
    assert!(rows[0].1.contains("`yesterday`"), "{rows:?}");
    assert!(rows[1].1.contains("not negative"), "{rows:?}");
    assert!(rows[5].1.contains("2 fields"), "{rows:?}");
}

#[test]
fn names_ten_bad_rows_and_counts_the_others() {
    let text = format!("time,commit,seconds\n{}", "x,y,z\n".repeat(25));
    let message = read(&text).unwrap_err().to_string();
    assert!(message.starts_with("25 of the rows"), "{message}");
    assert!(message.contains("line 11:") && !message.contains("line 12:"), "{message}");
    assert!(message.ends_with("and 15 more"), "{message}");
}

#[test]
fn says_which_column_is_missing_and_what_is_there() {
    let message = read("when,commit,seconds\n").unwrap_err().to_string();
    assert!(message.contains("`time`") && message.contains("when, commit, seconds"), "{message}");
    assert!(matches!(read(""), Err(CsvError::Column { .. })));
    assert!(matches!(read("time,commit,seconds\n"), Err(CsvError::Empty)));
}

#[test]
fn bytes_that_are_not_utf_8_do_not_stop_the_reading() {
    let series = Series::from_csv(&b"time,commit,seconds\n2026-01-01,\xff\xfe,1\n"[..]).unwrap();
    assert_eq!(series.values(), [1.0]);
}

#[test]
fn refuses_values_that_are_no_sizes() {
    let point = |value| Point { at: Timestamp::UNIX_EPOCH, run: None, commit: None, value };
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        let error = Series::new(vec![point(1.0), point(value)]).unwrap_err();
        assert!(matches!(error, SeriesError::Value { index: 1, .. }), "{value}");
    }
    assert!(Series::new(vec![point(0.0)]).is_ok());
}
