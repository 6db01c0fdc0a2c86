//! Pictures of charts: the SVG drawn by resvg with the font that the program carries, so that no font of the system is needed.

use std::sync::Arc;

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{self, fontdb},
};

use super::{ChartError, FONT};

const REGULAR: &[u8] = include_bytes!("../../../assets/fonts/Inter-Regular.otf");
const SEMI_BOLD: &[u8] = include_bytes!("../../../assets/fonts/Inter-SemiBold.otf");
/// Pixels of the picture for a pixel of the chart: sharp on screens of today.
const DENSITY: f32 = 2.0;

/// Draws an SVG as PNG, on the ground that it has itself.
///
/// # Errors
/// Where the text is no SVG, or the picture too large to be held.
pub fn png(svg: &str) -> Result<Vec<u8>, ChartError> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(REGULAR.to_vec());
    fonts.load_font_data(SEMI_BOLD.to_vec());
    let options = usvg::Options { fontdb: Arc::new(fonts), font_family: FONT.to_owned(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options).map_err(|error| ChartError::Picture(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(DENSITY).ok_or_else(|| ChartError::Picture("it has no size".to_owned()))?;
    let mut picture = Pixmap::new(size.width(), size.height()).ok_or_else(|| ChartError::Picture("it is too large".to_owned()))?;
    resvg::render(&tree, Transform::from_scale(DENSITY, DENSITY), &mut picture.as_mut());
    picture.encode_png().map_err(|error| ChartError::Picture(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        chart::durations::{Look, svg},
        weekly::tests::{hostile, regression, year},
    };

    #[test]
    fn pictures_hold_text_and_colours() {
        for (name, report) in [("regression", regression().report()), ("year", year().report())] {
            let drawing = svg("watchparty", &report.series[0], Look { width: 1040, height: 400, titled: true }).unwrap();
            let bytes = png(&drawing).unwrap();
            if let Some(directory) = std::env::var_os("BKLOG_PAGES") {
                std::fs::write(std::path::Path::new(&directory).join(format!("{name}.png")), &bytes).unwrap();
            }
            let picture = Pixmap::decode_png(&bytes).unwrap();
            assert_eq!((picture.width(), picture.height()), (2080, 800));
            // The title stands in the upper left corner: ink on white, with the grey of smooth edges between.
            let shades = |from: u32, to: u32| {
                let of = (from..to).flat_map(|y| (24..800).map(move |x| (x, y))).filter_map(|(x, y)| picture.pixel(x, y));
                of.map(|pixel| pixel.red()).collect::<std::collections::BTreeSet<u8>>()
            };
            assert!(shades(20, 60).len() > 20, "no text is drawn: {:?}", shades(20, 60));
        }
    }

    #[test]
    fn hostile_names_make_whole_drawings() {
        let report = hostile().report();
        for series in &report.series {
            for look in [Look { width: 380, height: 240, titled: false }, Look { width: 0, height: 0, titled: true }] {
                let drawing = svg("<b>&\u{0}", series, look).unwrap();
                assert!(!drawing.contains("<script") && !drawing.contains("<img") && !drawing.contains('\u{202e}'));
                assert!(png(&drawing).is_ok(), "{drawing}");
            }
        }
    }
}
