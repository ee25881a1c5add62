//! `status --html`: one page that shows the same in a real browser, light and dark, wide and narrow, and obeys no name in it.
#![allow(clippy::disallowed_methods, reason = "tests build and remove their own files")]

use crate::kit::Host;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const HOSTILE: &str = "<img src=x onerror=document.title='taken'>\"&amp;";

/// What the browser has made of the page: asked by a page of the test's own around it, since the page itself runs nothing.
const ASKS: &str = r#"<!doctype html><meta charset="utf-8"><body style="margin:0"><iframe id="f" style="border:0" src="page.html"></iframe><script>
const f = document.getElementById("f");
f.width = innerWidth; f.height = 2000;
f.onload = () => setTimeout(() => {
    const d = f.contentDocument, style = e => f.contentWindow.getComputedStyle(e);
    document.body.textContent = "ANSWER" + JSON.stringify({
        title: d.title, back: style(d.body).backgroundColor, text: style(d.body).color,
        images: d.images.length, scripts: d.scripts.length, overflows: d.documentElement.scrollWidth > d.documentElement.clientWidth,
        cells: [...d.querySelectorAll("td")].map(e => e.textContent), small: Math.min(...[...d.querySelectorAll("td")].map(e => parseFloat(style(e).fontSize))),
    }) + "END";
}, 200);
</script>"#;

/// None, and a line that says so, where no Chromium is installed.
fn ask(directory: &Path, dark: bool, width: u32) -> Option<Value> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let program = names.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    let Some(program) = program else {
        eprintln!("skipped, not installed: chromium");
        return None;
    };
    let scheme = if dark { 0 } else { 1 };
    let output = Command::new(program)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"])
        .args(["--no-first-run", "--disable-dev-shm-usage", "--virtual-time-budget=5000"])
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(format!("--window-size={width},900"))
        .arg(format!("--user-data-dir={}", directory.join("profile").display()))
        .arg(format!("file://{}", directory.join("asks.html").display()))
        .output()
        .expect("the browser runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = text.split("ANSWER").nth(1).and_then(|rest| rest.split("END").next());
    let answer = answer.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    let answer = answer.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    Some(serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

/// The brightness of `rgb(r, g, b)`.
fn brightness(colour: &Value) -> u32 {
    let text = colour.as_str().expect("a colour");
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u32>().ok()).take(3).sum()
}

#[test]
fn a_browser_shows_the_page_light_and_dark_wide_and_narrow_and_obeys_no_name() {
    let host = Host::new();
    host.runner(HOSTILE).build();
    host.runner("ci-2").build();
    let directory = host.base.join("site");
    std::fs::create_dir(&directory).expect("a directory");
    let page = directory.join("page.html");
    host.guard(&["status", "--html", page.to_str().expect("UTF-8")]).expect_code(&[0]);
    std::fs::write(directory.join("asks.html"), ASKS).expect("a file");
    for (dark, width) in [(false, 1200), (true, 1200), (false, 500)] {
        let Some(answer) = ask(&directory, dark, width) else { return };
        let (back, text) = (brightness(&answer["back"]), brightness(&answer["text"]));
        assert_eq!(back < text, dark, "{answer}");
        assert!(back.abs_diff(text) > 450, "the text can be read: {answer}");
        assert_eq!((&answer["images"], &answer["scripts"]), (&Value::from(0), &Value::from(0)), "{answer}");
        assert!(answer["title"].as_str().is_some_and(|title| title.starts_with("disk-guard: ")), "{answer}");
        let cells = answer["cells"].as_array().expect("a list");
        assert!(cells.iter().any(|cell| cell == HOSTILE), "the name is shown as it is: {answer}");
        assert!(cells.iter().any(|cell| cell == "ci-2"), "{answer}");
        assert_eq!(answer["overflows"], false, "{width}: {answer}");
    }
}

#[test]
fn the_page_is_written_whole_or_not_at_all_and_to_standard_output_where_that_is_asked_for() {
    let host = Host::new();
    host.runner("ci-1").build();
    let page = host.base.join("page.html");
    std::fs::write(&page, "old").expect("a file");
    host.guard(&["status", "--html", page.to_str().expect("UTF-8")]).expect_code(&[0]);
    let written = std::fs::read_to_string(&page).expect("it is there");
    assert!(written.starts_with("<!DOCTYPE html>") && written.ends_with("</html>\n"), "{written}");
    let shown = host.guard(&["status", "--html", "-"]).expect_code(&[0]).stdout();
    assert!(shown.starts_with("<!DOCTYPE html>") && shown.contains("ci-1"), "{shown}");
    let missing = host.base.join("no/page.html");
    let said = host.guard(&["status", "--html", missing.to_str().expect("UTF-8")]).expect_code(&[1]).stderr();
    assert!(said.contains("does not exist"), "{said}");
    host.guard(&["status", "--html", "-", "--json"]).expect_code(&[2]);
}
