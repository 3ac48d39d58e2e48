from saam._core.html import html_table


def test_a_table_is_escaped_and_names_its_rows() -> None:
    text = html_table([("site", "change"), ("<b>", "+ se & more")], caption="a < b", below=["note: <i>"])
    assert text == (
        '<table><caption>a &lt; b</caption><thead><tr><th scope="col">site</th><th scope="col">change</th></tr></thead>'
        '<tbody><tr><th scope="row">&lt;b&gt;</th><td>+ se &amp; more</td></tr></tbody></table><p>note: &lt;i&gt;</p>'
    )
