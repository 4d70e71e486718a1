//! The report as people read it.

use crate::bars::{Bar, Limit};
use crate::figure::Key;
use crate::report::Report;
use crate::samples::{Samples, Spread};

/// Prints all figures, what is missing, and the bars.
pub(crate) fn print(samples: &Samples, report: &Report) {
    for key in samples.keys() {
        print_figure(samples, key);
    }
    for (peer, why) in &report.absent {
        eprintln!("\nwithout {peer}: {why}");
    }
    if !report.failed.is_empty() {
        eprintln!("\nfailed:");
        report.failed.iter().for_each(|failure| eprintln!("  {failure}"));
    }
    if !report.bars.is_empty() {
        eprintln!("\n{:<62} {:>14} {:>9}", "bar", "demanded", "measured");
        report.bars.iter().for_each(print_bar);
    }
}

fn print_figure(samples: &Samples, key: Key) {
    let mode = key.mode.name();
    eprintln!("\n{mode}: {}", key.figure.title());
    eprintln!("  {:<20} {:>9} {:>20} {:>9} {:>17}", "", "median", "lowest..highest", "ours to", "lowest..highest");
    for peer in samples.peers(key) {
        let Some(Spread { median, min, max }) = samples.spread(key, peer) else { continue };
        let digits = digits(median);
        let range = format!("{min:.digits$}..{max:.digits$}");
        let ratio = samples.ours_to(key, peer).map_or_else(String::new, |Spread { median, min, max }| {
            format!(" {median:>9.2} {:>17}", format!("{min:.2}..{max:.2}"))
        });
        eprintln!("  {:<20} {median:>9.digits$} {range:>20}{ratio}", peer.name());
    }
}

/// Three digits that mean something are enough: the noise is larger.
fn digits(figure: f64) -> usize {
    match figure.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    }
}

fn print_bar(bar: &Bar) {
    let demanded = match bar.limit {
        Limit::AtLeast(least) => format!("at least {least}"),
        Limit::AtMost(most) => format!("at most {most}"),
    };
    let verdict = if bar.met { "met" } else { "not met" };
    let aim = bar.aim.map_or_else(String::new, |aim| format!(" (aim {aim})"));
    eprintln!("{:<62} {demanded:>14} {:>9.2} {verdict}{aim}", bar.name, bar.measured);
}
