//! Writes the man pages and completions below `packaging/`, from the command line's own definition:
//! `cargo run --example packaging-assets`. They are checked in, so that a package needs no generator; tests/documents/packaging.rs
//! compares.

mod generate;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    for (path, content) in generate::assets()? {
        let path = packaging.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&packaging))?;
        std::fs::write(&path, content)?;
        println!("{}", path.display());
    }
    Ok(())
}
