package web

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/firn-log/firn/internal/testreq"
)

// browser is a Chromium with one page, over a fake.
type browser struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu       sync.Mutex
	problems []string // what the console said, and what the policy blocked
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	path := testreq.Command(t, "chromium", "chromium")
	f := newFake()
	srv := httptest.NewServer(New(f, Options{Now: func() time.Time { return now }}))
	t.Cleanup(srv.Close)
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(time.Minute))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, base: srv.URL}
	b.run()
	err := chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.problem("exception: " + ev.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			b.problem("console: " + string(ev.Type))
		case *cdplog.EventEntryAdded:
			b.problem(fmt.Sprintf("%s: %s %s", ev.Entry.Level, ev.Entry.Text, ev.Entry.URL))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	call(b, cdplog.Enable, cdp.Empty{})
	return b
}

// call runs a command of the protocol that answers nothing.
func call[P any](b *browser, cmd cdp.Command[P, cdp.Empty], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, cmd, params); err != nil {
		b.t.Fatal(err)
	}
}

// eval runs a script in the page.
func eval[T any](b *browser, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *browser) problem(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, s)
}

// quiet fails the test for all that the console said since the last time.
func (b *browser) quiet(where string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		b.t.Errorf("%s: %s", where, p)
	}
	b.problems = nil
}

func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) open(path string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.base + path))
}

// path is where the browser is, from its history, which needs no script.
func (b *browser) path() string {
	b.t.Helper()
	h, err := chromedp.Run(b.ctx, chromedp.NavigationEntries())
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimPrefix(h.Entries[h.CurrentIndex].URL, b.base)
}

// follow presses keys and waits for the page that they lead to.
func (b *browser) follow(keys string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.KeyEvent(keys)); err != nil {
		b.t.Fatal(err)
	}
}

// look sets the size of the screen and the scheme of colours.
func (b *browser) look(width, height int64, scheme string) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

// details opens or closes all that can be.
func (b *browser) details(open bool) {
	b.t.Helper()
	eval[int](b, fmt.Sprintf(`document.querySelectorAll("details").forEach((d) => { d.open = %v; }); document.documentElement.scrollHeight`, open))
}

const focused = `(() => { const e = document.activeElement, s = getComputedStyle(e);
  return {text: e.textContent.trim(), tag: e.tagName, outline: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1}; })()`

type focusOn struct {
	Text, Tag string
	Outline   bool
}

// From a question to what differs, with nothing but a keyboard.
func TestBrowserKeyboardOnly(t *testing.T) {
	b := newBrowser(t)
	b.open("/")
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`document.activeElement.name === "q"`)); err != nil {
		t.Fatalf("the search box does not take the first key: %v", err)
	}
	b.run(chromedp.KeyEvent("glibc"))
	b.follow(kb.Enter)
	if at := b.path(); at != "/package/glibc" {
		t.Fatalf("searching leads to %s", at)
	}
	tabs := 0
	for f := (focusOn{}); f.Text != "what differs"; tabs++ {
		if tabs > 60 {
			t.Fatalf("60 tabs do not reach the diff, the last is %+v", f)
		}
		b.run(chromedp.KeyEvent(kb.Tab))
		f = eval[focusOn](b, focused)
		if !f.Outline {
			t.Errorf("tab %d: the focus on %s %q is not seen", tabs, f.Tag, clip(f.Text, 40))
		}
	}
	b.follow(kb.Enter)
	if at := b.path(); at != "/statement/"+hexOf("statement diff") {
		t.Fatalf("the diff leads to %s", at)
	}
	b.quiet("by keyboard")

	b.open("/maintainer/alice")
	b.run(chromedp.KeyEvent("jj"))
	f := eval[focusOn](b, focused)
	if f.Tag != "A" || !f.Outline {
		t.Errorf("j leads to %+v", f)
	}
	b.run(chromedp.KeyEvent("/"))
	if f = eval[focusOn](b, focused); f.Tag != "INPUT" {
		t.Errorf("/ leads to %+v, want the search box", f)
	}
	b.run(chromedp.KeyEvent("j/k"))
	if typed := eval[string](b, `document.activeElement.value`); !strings.HasSuffix(typed, "j/k") {
		t.Errorf("typing j/k into the box writes %q", typed)
	}
	b.quiet("shortcuts")
}

func TestBrowserWithoutScripts(t *testing.T) {
	b := newBrowser(t)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open("/")
	b.run(chromedp.Focus(chromedp.CSS("input[type=search]")), chromedp.KeyEvent("bash"))
	b.follow(kb.Enter)
	if at := b.path(); at != "/package/bash" {
		t.Errorf("searching without scripts leads to %s", at)
	}
	b.quiet("without scripts")
}

// audit is an accessibility pass: labels, names, headings, tables, focus order
// and contrast as computed, without what is not seen.
const audit = `(() => {
  const out = [], say = (e, s) => out.push(s + ": " + e.outerHTML.slice(0, 120));
  const seen = (e) => e.getClientRects().length > 0;
  if (document.documentElement.lang !== "en") out.push("no lang");
  if (!document.title) out.push("no title");
  for (const tag of ["main", "header", "footer", "h1"]) if (document.querySelectorAll(tag).length !== 1) out.push("not one " + tag);
  let level = 0;
  for (const h of document.querySelectorAll("h1,h2,h3,h4,h5,h6")) {
    const n = +h.tagName[1];
    if (n > level + 1) say(h, "heading skips from " + level);
    if (!h.textContent.trim()) say(h, "empty heading");
    level = n;
  }
  for (const i of document.querySelectorAll("input,select,textarea")) if (!i.labels?.length && !i.getAttribute("aria-label")) say(i, "no label");
  for (const e of document.querySelectorAll("a,button,summary")) if (!e.textContent.trim() && !e.getAttribute("aria-label") && !e.querySelector("img[alt]")) say(e, "no name");
  for (const e of document.querySelectorAll("img")) if (!e.getAttribute("alt")) say(e, "no alt");
  for (const e of document.querySelectorAll("svg")) if (e.getAttribute("aria-hidden") !== "true" && (e.getAttribute("role") !== "img" || !e.querySelector("title"))) say(e, "svg without title");
  for (const e of document.querySelectorAll("th")) if (!e.scope) say(e, "th without scope");
  for (const e of document.querySelectorAll("table")) if (!e.querySelector("th")) say(e, "table without headers");
  for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) say(e, "tabindex above 0");
  for (const e of document.querySelectorAll("nav,[role=region]")) if (!e.getAttribute("aria-label")) say(e, "region without name");
  const ids = new Set();
  for (const e of document.querySelectorAll("[id]")) { if (ids.has(e.id)) say(e, "id twice"); ids.add(e.id); }
  for (const e of document.querySelectorAll("div,section")) if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX === "auto" && e.tabIndex !== 0) say(e, "scrolls and takes no focus");
  const rgb = (s) => { const m = s.match(/[\d.]+/g).map(Number); if (s.startsWith("color(")) return [m[0]*255, m[1]*255, m[2]*255, m[3] ?? 1]; return [m[0], m[1], m[2], m[3] ?? 1]; };
  const lum = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const over = (c, d) => [0, 1, 2].map((i) => c[i] * c[3] + d[i] * (1 - c[3]));
  const seenBehind = new Map();
  const behind = (e) => { if (!seenBehind.has(e)) seenBehind.set(e, behindOf(e)); return seenBehind.get(e); };
  const behindOf = (e) => { const stack = []; for (let n = e; n; n = n.parentElement) stack.push(rgb(getComputedStyle(n).backgroundColor)); return stack.reverse().reduce((d, c) => over(c, d), [255, 255, 255]); };
  const ratio = (a, b) => { const [x, y] = [lum(a), lum(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const areas = {};
  for (const p of document.querySelectorAll(".plot .area")) areas[p.classList[1]] = rgb(getComputedStyle(p).fill);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const said = new Set();
  for (let t = walker.nextNode(); t; t = walker.nextNode()) {
    const e = t.parentElement;
    if (!t.data.trim() || !seen(e) || e.closest("title,desc,script")) continue;
    const s = getComputedStyle(e), svg = e.closest("svg");
    const fg = rgb(svg ? s.fill : s.color);
    let bg = behind(svg ? svg.parentElement : e);
    if (e.classList.contains("band")) bg = over(areas[e.textContent.split(" ")[0]], bg);
    const r = ratio(over(fg, bg), bg), key = e.className + e.tagName + r.toFixed(2);
    if (r < 4.5 && !said.has(key)) { said.add(key); say(e, "contrast " + r.toFixed(2)); }
  }
  return out;
})()`

// scrolls are the parts of a page that are wider than their place.
const scrolls = `[...document.querySelectorAll("main *")].filter((e) => getComputedStyle(e).overflowX === "auto" && e.scrollWidth > e.clientWidth + 1).map((e) => e.ariaLabel || e.tagName)`

// looks are how pages are looked at.
var looks = []struct {
	name          string
	width, height int64
	scheme        string
}{{"desktop", 1280, 900, "light"}, {"phone", 360, 740, "light"}, {"tablet", 720, 900, "light"}, {"dark", 1280, 900, "dark"}, {"phone-dark", 360, 740, "dark"}}

// Every page, wide and narrow, light and dark: nothing is wider than the
// screen, the console is silent, the audit finds nothing. Pictures of all are kept
// in the folder FIRN_SCREENSHOTS, or among the artefacts with -artifacts.
func TestBrowserEveryPage(t *testing.T) {
	b := newBrowser(t)
	dir := os.Getenv("FIRN_SCREENSHOTS")
	if f := flag.Lookup("test.artifacts"); dir == "" && f != nil && f.Value.String() == "true" {
		dir = t.ArtifactDir()
	}
	pages := pagesOfFake()
	pages["/package/openssl"] = "package-copying"
	pages["/package/"+segment(hostileNames[0])] = "package-hostile"
	pages["/package/"+segment(strings.Repeat("long", 2500))] = "package-long"
	pages["/channel/nixos-unstable?state=differ&order=name"] = "channel-filtered"
	pages["/operator/"+hexOf("hostile")] = "operator-hostile"
	pages["/closure/"+hexOf("hostile")] = "closure-hostile"
	pages["/channel/empty"] = "channel-empty"
	for _, path := range slices.Sorted(maps.Keys(pages)) {
		b.open(path)
		for _, look := range looks {
			b.look(look.width, look.height, look.scheme)
			name := pages[path] + "-" + look.name
			b.details(true)
			if wide := eval[int64](b, `document.documentElement.scrollWidth`); wide > look.width {
				t.Errorf("%s is %d pixels wide on a screen of %d", name, wide, look.width)
			}
			for _, region := range eval[[]string](b, scrolls) {
				if look.width < 500 {
					t.Errorf("%s: %s scrolls sideways", name, region)
				}
			}
			for _, f := range eval[[]string](b, audit) {
				t.Errorf("%s: %s", name, f)
			}
			b.details(false)
			if dir == "" || look.name == "phone-dark" || look.name == "tablet" {
				continue
			}
			picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b.quiet(pages[path])
	}
	// The audit itself must be able to say no.
	b.look(1280, 900, "light")
	b.open("/about")
	eval[any](b, `document.querySelector("main").innerHTML = '<h1>x</h1><h3>y</h3><input><img src="/favicon"><table><tr><th>z</th></tr></table><p>pale</p>';
		document.querySelector("main p").style.color = "#ddd"; 0`)
	all := strings.Join(eval[[]string](b, audit), "\n")
	for _, want := range []string{"heading skips", "no label", "no alt", "th without scope", "contrast 1."} {
		if !strings.Contains(all, want) {
			t.Errorf("the audit does not find %q: %s", want, all)
		}
	}
}
