"""Takes `page.png`, the top of `resnet.html` as a browser shows it.

pip install -c constraints.txt -e '.[browser]'
python figures/own_model/picture.py [--browser=/usr/bin/chromium]
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
SIZE = {"width": 1100, "height": 1500}  # pixels


def main() -> None:
    """Writes the picture beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", default=shutil.which("chromium"), help="its path")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=parser.parse_args().browser)
        page = browser.new_page(viewport=SIZE)
        page.goto((HERE / "resnet.html").as_uri())
        page.screenshot(path=HERE / "page.png")
        browser.close()


if __name__ == "__main__":
    main()
