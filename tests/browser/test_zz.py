from tests.browser.test_safety import *
def test_x(page, serve_script):
    page.goto(serve_script("from tests.browser.payloads import table\nfrom widgets.in_panel import in_panel\nin_panel(table()).servable()"))
    page.wait_for_timeout(9000)
    print("LINE", page.locator(".wb-rollouts .wb-line").all_text_contents(), page.locator(".wb-rollouts").inner_text()[:300])
    print("ROWS", page.locator(".wb-rollouts tr").count())
    page.screenshot(path="/tmp/tab.png")
