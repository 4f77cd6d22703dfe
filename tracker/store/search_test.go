package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/tracker/eval"
)

// described makes attributes of what is given as "name", "name: description" or "name: description https://home".
func attrsOf(lines ...string) (attrs []eval.Attribute) {
	for _, l := range lines {
		name, text, _ := strings.Cut(l, ": ")
		text, home, ok := strings.Cut(text, " https://")
		if ok {
			home = "https://" + home
		}
		attrs = append(attrs, eval.Attribute{Attr: name, Pname: name[strings.LastIndexByte(name, '.')+1:], Version: "1", Description: text, Homepage: home})
	}
	slices.SortFunc(attrs, func(a, b eval.Attribute) int { return strings.Compare(a.Attr, b.Attr) })
	return attrs
}

// found is what a search finds, as kind:key, with ~ before what is only almost called so and = before what is only described so.
func found(t testing.TB, db *DB, text string) (list []string) {
	t.Helper()
	hits, err := db.Search(t.Context(), text, 30)
	if err != nil {
		t.Errorf("search %q: %v", text, err)
	}
	for _, h := range hits {
		sign := map[string]string{MatchName: "", MatchSimilar: "~", MatchText: "="}[h.Match]
		if h.Kind != "attribute" {
			sign += h.Kind + ":"
		}
		list = append(list, sign+h.Key)
	}
	return list
}

var shelf = []string{
	"ffmpeg: Complete, cross-platform solution to record, convert and stream audio and video https://www.ffmpeg.org/",
	"ffmpeg-full: Complete, cross-platform solution to record, convert and stream audio and video https://www.ffmpeg.org/",
	"curl: Command line tool for transferring files with URL syntax https://curl.se/", "curlie: Frontend to curl that adds the ease of use of httpie",
	"haskellPackages.json: Support for serialising Haskell to and from JSON", "jansson: C library for encoding, decoding and manipulating JSON data https://github.com/akheron/jansson",
	"jq: Lightweight and flexible command-line JSON processor", "json-parser: ", "python3Packages.json-stream: Streaming parser for the formats of JavaScript", "python3Packages.jsonlines: Library for JSON lines",
	"rapidjson: Fast JSON parser/generator for C++ with both SAX/DOM style API", "simdjson: Parsing gigabytes of JSON per second", "yajl: Yet Another JSON Library, with parsers",
	"nginx: Reverse proxy and lightweight webserver", "apacheHttpd: Apache HTTPD, the world's most popular web server", "caddy: Fast and extensible multi-platform HTTP/1-2-3 web server with automatic HTTPS",
	"zlib: Lossless data-compression library", "zstd: Zstandard real-time compression algorithm", "lz4: Extremely fast compression algorithm", "libdeflate: Fast DEFLATE/zlib/gzip compressor and decompressor library",
	"python3Packages.numpy: Scientific tools for Python", "hello: Program that produces a familiar, friendly greeting", "haskellPackages.hello: The hello of Haskell", "hello-wayland: Hello world Wayland client",
}

// The answers are those of the specification, in this order, on both databases.
func TestSearchAnswersInOrder(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		db := fresh(Options{})
		a := newPerson(t, "alice")
		add(t, db, logA, entries(0, a.first))
		attrs := attrsOf(shelf...)
		attrs[0].Maintainers = []eval.Maintainer{{Login: "json-fan", Name: "Jason"}}
		evaluate(t, db, evaluation{header("unstable", 1, eval.Meta, true), attrs})
		for text, want := range map[string][]string{
			"json parser":         {"json-parser", "=python3Packages.json-stream", "=yajl", "=rapidjson"}, // yajl has parsers, the plural
			"JSON  Parsers":       {"=json-parser", "=python3Packages.json-stream", "=yajl", "=rapidjson"},
			"http server":         {"=caddy", "=apacheHttpd"}, // httpd only begins so
			"web server":          {"=apacheHttpd", "=caddy"},
			"compression library": {"=zlib"},
			"compress":            {"=lz4", "=zlib", "=zstd", "=libdeflate"},
			"hello":               {"hello", "haskellPackages.hello", "hello-wayland"},
			"numpy":               {"python3Packages.numpy"},
			"python3packages.num": {"python3Packages.numpy"},
			"json":                {"haskellPackages.json", "json-parser", "python3Packages.json-stream", "maintainer:json-fan", "python3Packages.jsonlines", "=simdjson", "=yajl", "=jq", "=jansson", "=rapidjson"},
			"ffmpge":              {"~ffmpeg", "~ffmpeg-full"},
			"ffmepg":              {"~ffmpeg", "~ffmpeg-full"},
			"fmpeg":               {"~ffmpeg", "~ffmpeg-full"},
			"ffmpegg":             {"~ffmpeg", "~ffmpeg-full"},
			"ffnpeg":              {"~ffmpeg", "~ffmpeg-full"},
			"ffmpeeg2":            nil, // two mistakes
			"unstabel":            {"~channel:unstable"},
			"curl.se":             {"=curl"},
			"https://curl.se":     {"=curl"},
			"ffmpeg.org":          {"=ffmpeg", "=ffmpeg-full"},
			"the":                 nil, // describes nothing
			"yet another with":    {"=yajl"},
			"jason":               {"maintainer:json-fan"},
			"stream":              {"python3Packages.json-stream", "=ffmpeg", "=ffmpeg-full"},
			"alic":                {"operator:" + a.id.String()},
		} {
			if got := found(t, db, text); !slices.Equal(got, want) {
				t.Errorf("%s finds\n\t%q, want\n\t%q", text, got, want)
			}
		}
	})
}

// Whatever somebody asks, it is neither an error nor slow, and nothing in it is an operator of a query.
func TestSearchTakesAnyQuestion(t *testing.T) {
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		db := fresh(Options{})
		evaluate(t, db, evaluation{header("c", 1, eval.Meta, true), attrsOf(shelf...)})
		for _, text := range []string{
			`"json`, `json"`, "json*", "json AND", "json OR parser", "NOT json", "NEAR(json parser)", "json:parser", "name : json", "-json", "json & parser", "json | (parser", "!json", "json <-> parser",
			"%", "_", "j%n", "'; DROP TABLE word; --", "\\", "\x00", "a\x00b", "\xff\xfe", "\u202egnosj", "()", "*", "💥", strings.Repeat("json ", 60), strings.Repeat("x", 100_000), "\U0010FFFF",
			strings.Repeat("a b c d e f g h ", 20), "json\nparser", "-", "--", ".", "..", "/", "{term:json}", "$1", "?", "://", "https://", "İ", "ﬃ",
		} {
			found(t, db, text)
		}
		if got := found(t, db, `json AND "parser"*`); !slices.Equal(got, nil) { // "and" is no word, but what has it in its name would be found
			if !slices.Contains(got, "=rapidjson") {
				t.Errorf("%q", got)
			}
		}
	})
}

// vocabulary of descriptions, of which the first are in almost each.
func wordOf(r *rand.Rand) string {
	return fmt.Sprintf("w%c%c", 'a'+rune(r.IntN(1+r.IntN(20))), 'a'+rune(r.IntN(1+r.IntN(3))))
}

// Both databases give the same answers, whatever the order in which channels came, and they are what a
// slow search through all descriptions finds.
func TestSearchFindsWhatASlowSearchFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	var evals []evaluation
	texts := make(map[string][]string) // by attribute, what is said of it
	for c := range 3 {
		var lines []string
		for i := range 150 {
			if r.IntN(4) == 0 {
				continue
			}
			name := fmt.Sprintf("p%03d", i)
			if i%3 == 0 {
				name = "set." + name
			}
			var words []string
			for range 1 + r.IntN(6) {
				words = append(words, wordOf(r))
			}
			lines = append(lines, name+": "+strings.Join(words, " "))
			texts[name] = append(texts[name], strings.Join(words, " "))
		}
		evals = append(evals, evaluation{header(fmt.Sprint("c", c), 1, eval.Meta, true), attrsOf(lines...)})
	}
	var questions []string
	for range 60 {
		questions = append(questions, strings.TrimSpace(wordOf(r)+" "+[]string{wordOf(r), wordOf(r) + " " + wordOf(r), ""}[r.IntN(3)]))
	}
	answers := make(map[string]string)
	order := [][]int{{0, 1, 2}, {2, 0, 1}}
	backends(t, func(t *testing.T, fresh func(Options) *DB) {
		for _, o := range order {
			db := fresh(Options{})
			for _, i := range o {
				evaluate(t, db, evals[i])
			}
			for _, text := range questions {
				hits, err := db.Search(t.Context(), text, maxHits)
				if err != nil {
					t.Fatal(err)
				}
				got := make(map[string]bool)
				for _, h := range hits {
					got[h.Key] = true
				}
				if want := slowly(texts, text); !maps.Equal(got, want) {
					t.Fatalf("%s finds %v, want %v", text, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
				}
				b, _ := json.Marshal(hits)
				if answers[text] == "" {
					answers[text] = string(b)
				}
				if answers[text] != string(b) {
					t.Fatalf("%s finds\n%s, and elsewhere\n%s", text, b, answers[text])
				}
			}
		}
	})
	if len(answers) < 30 {
		t.Error("too few questions")
	}
}

// slowly is what has all words of a text in one of its descriptions.
func slowly(texts map[string][]string, text string) map[string]bool {
	out := make(map[string]bool)
	for name, all := range texts {
		for _, said := range all {
			words := describedBy(said)
			if !slices.ContainsFunc(describedBy(text), func(w string) bool { return !slices.Contains(words, w) }) {
				out[name] = true
			}
		}
	}
	return out
}

// Whatever came, went and changed, things are found by what is said of them now and by nothing else.
func TestWordsAreThoseOfWhatIsListed(t *testing.T) {
	for seed := range uint64(6) {
		db := openSQLite(t, Options{})
		makeWorld(t, seed).shuffled(t, db, seed)
		want := make(map[string]int64)
		labels := make(map[label]bool)
		err := db.view(t.Context(), func(q *view) error {
			return q.each("SELECT r.name, COALESCE(m.json, '') FROM attr_row r LEFT JOIN meta m ON m.id = r.meta", nil, func(r *sql.Rows) error {
				var name, text string
				if err := r.Scan(&name, &text); err != nil {
					return err
				}
				var m *metaText
				if text != "" {
					m = &metaText{}
					if err := json.Unmarshal([]byte(text), &m.Attribute); err != nil {
						return err
					}
				}
				l, terms := labelOf(name, m)
				if !labels[l] {
					labels[l] = true
					for _, k := range terms {
						want[fmt.Sprint(k)]++
					}
				}
				return nil
			})
		})
		if err != nil || len(want) < 20 {
			t.Fatal(err, len(want))
		}
		got := make(map[string]int64)
		err = db.view(t.Context(), func(q *view) error {
			return q.each("SELECT term, kind, key, n FROM word WHERE kind IN (1, 7, 8)", nil, func(r *sql.Rows) error {
				var k wordKey
				var n int64
				err := r.Scan(&k.term, &k.kind, &k.key, &n)
				got[fmt.Sprint(k)] = n
				return err
			})
		})
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("world %d: %v\n%v, want\n%v", seed, err, got, want)
		}
	}
}

func TestSingular(t *testing.T) {
	for w, want := range map[string]string{"libraries": "library", "parsers": "parser", "files": "file", "https": "http", "js": "js", "class": "class", "status": "status", "aes": "aes", "series": "sery", "": "", "s": "s", "boxes": "boxe"} {
		if got := singular(w); got != want {
			t.Errorf("%s is %s, want %s", w, got, want)
		}
	}
}

func TestHomeOf(t *testing.T) {
	for url, want := range map[string]string{
		"https://www.GNU.org/software/hello/": "gnu.org/software/hello", "http://curl.se": "curl.se", "curl.se/": "curl.se", "": "", "hello": "", "a b.c": "", "https://x.example/a?b#c": "x.example/a", "javascript:alert(1)": "",
	} {
		if got := homeOf(url); got != want {
			t.Errorf("%q is %q, want %q", url, got, want)
		}
	}
}
