package browser

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/ollelogdahl/concord/internal/web"
	"github.com/ollelogdahl/concord/internal/web/webtest"
)

var screenshots = flag.String("screenshots", "", "write the pictures of the documents to this directory")

// TestScreenshots looks at the page as the documents show it, and makes their
// pictures with -screenshots.
func TestScreenshots(t *testing.T) {
	for _, c := range []struct {
		file    string
		members int
		screen  screen
		key     string
		own     bool // the own member is selected
		trouble bool // one is silent, one has just joined
	}{
		{file: "page.png", members: 16, screen: desktop, key: "pear"},
		{file: "page-dark.png", members: 16, screen: screen{width: 1280, height: 860, dark: true}, own: true, trouble: true},
		{file: "page-200.png", members: 200, screen: desktop, key: "peach"},
		{file: "page-phone.png", members: 16, screen: phone, key: "pear"},
	} {
		t.Run(c.file, func(t *testing.T) {
			r := webtest.New(c.members)
			c.screen.still = true
			path := "/"
			if c.key != "" {
				path = "/?key=" + c.key
			}
			p := open(t, c.screen, serve(t, r), path)
			if c.key != "" {
				p.wait("the path", `document.querySelector('.leg')`)
			}
			if c.trouble {
				r.Join("newcomer")
				p.wait("the newcomer", shown("newcomer", web.Here))
				r.Hush("node9")
				p.wait("the silent one", shown("node9", web.Silent))
			}
			if c.own {
				p.do(chromedp.Click(chromedp.CSS(".member.own")))
				p.wait("the own member", `document.querySelector('#panel .counters')`)
			}
			picture := p.shot(c.screen.width < 500)
			if len(picture) < 10_000 {
				t.Errorf("a picture of %d bytes", len(picture))
			}
			if *screenshots != "" {
				if err := os.WriteFile(filepath.Join(*screenshots, c.file), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
