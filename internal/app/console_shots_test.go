package app_test

import (
	"bytes"
	"flag"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"orderflow/internal/config"
	"orderflow/internal/order"
)

// update makes TestScreenshots write the pictures for the documents: go test ./internal/app -run TestScreenshots -update.
var update = flag.Bool("update", false, "write the console's pictures into docs/images")

// shot is a page in the documents.
type shot struct{ name, path, shows string }

// TestScreenshots renders every page of the console with data, at two widths and in both themes: no page is wider than its window. With -update
// it writes the pictures for the documents.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	path, b := filepath.Join(t.TempDir(), "orderflow.db"), newBrowser(t)
	before := serveOn(t, path, func(set *config.Settings) {
		apiOnly(set)
		set.PaymentAttempts = 1
	})
	for i := range 2 {
		before.visit(b).failJob(before.buy(1, fmt.Sprint("failed ", i), 4, 1).order().ID)
	}
	before.stop()
	s := serveOn(t, path, func(set *config.Settings) {
		set.SimulatedLatency, set.SimulatedSuccess = config.Span{Min: 50 * time.Millisecond, Max: 200 * time.Millisecond}, 0.8
	})
	v, live := s.visit(b), s.visit(b)
	live.open("/")
	live.awaitState("live-state", "live")
	live.awaitState("feed-state", "live")
	load := time.Duration(0)
	if *update {
		load = 90 * time.Second
		if _, err := v.db.Restock(t.Context(), []order.Restock{
			{ProductID: 1, Quantity: 1500, Key: "1"},
			{ProductID: 2, Quantity: 500, Key: "2"},
			{ProductID: 3, Quantity: 1000, Key: "3"},
			{ProductID: 4, Quantity: 2000, Key: "4"},
		}); err != nil {
			t.Fatal(err)
		}
	}
	placeOrders(s, load)
	v.open("/try")
	v.click("Race for the last headphones")
	v.awaitText("of 50 buyers 1 got the last unit")
	v.open("/audit")
	v.click("Run audit")
	v.awaitText("Audit passed")
	live.awaitText("PAID")
	live.take(t, "live")
	for _, shot := range []shot{
		{"orders", "/orders", "PAID"},
		{"order", "/orders/3", "Timeline"},
		{"products", "/products", "Mechanical Keyboard"},
		{"failed-jobs", "/failed-jobs", "the provider does not answer"},
		{"try", "/try", "of 50 buyers 1 got the last unit"},
		{"audit", "/audit", "Audit passed"},
	} {
		v.open(shot.path)
		v.awaitText(shot.shows)
		v.take(t, shot.name)
	}
}

// placeOrders places orders at a rising rate for this time, some of which are refused for lack of stock.
func placeOrders(s *testServer, load time.Duration) {
	const clients = 8
	var all sync.WaitGroup
	end := time.Now().Add(load)
	for client := range int64(clients) {
		all.Go(func() {
			for i := int64(0); i < 2 || time.Now().Before(end); i++ {
				product := (i+client)%4 + 1
				if r := s.buy(client%3+1, fmt.Sprint(client, "-", i), product, 1); r.status != http.StatusCreated && r.status != http.StatusConflict {
					s.t.Errorf("%+v", r)
				}
				if left := time.Until(end); left > 0 {
					pause := time.NewTimer(left / 100) // the rate rises towards the end
					<-pause.C
				}
			}
		})
	}
	all.Wait()
	s.await(3, "PAID", "FAILED")
}

// take renders the current page at two widths and in both themes.
func (v *visitor) take(t *testing.T, name string) {
	t.Helper()
	for _, width := range []int64{1280, 360} {
		for _, theme := range []string{"light", "dark"} {
			v.setTheme(theme)
			v.do(chromedp.EmulateViewport(width, map[int64]int64{1280: 800, 360: 740}[width]))
			v.awaitFit()
			picture, err := chromedp.Run(v.ctx, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			drawn, err := png.DecodeConfig(bytes.NewReader(picture))
			if err != nil || int64(drawn.Width) != width {
				t.Errorf("%s, %s: a picture of %d pixels, %v", name, theme, drawn.Width, err)
			}
			if *update {
				file := filepath.Join("..", "..", "docs", "images", fmt.Sprintf("console-%s-%d-%s.png", name, width, theme))
				if err := os.WriteFile(file, picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
