package main

import (
	"math/rand/v2"
	"strings"
)

// said are the words that descriptions of packages in nixpkgs have most often, in this order.
var said = strings.Fields(`
for a and the to library of an with in python tool c based that system files from on client source simple open interface command line linux tools data
language implementation platform file game program module software x server framework ocaml utility gnu code text by manager using your application
web audio fast high programming perl support free api d or emacs compiler protocol editor bindings plugin network engine use applications database
lightweight access user collection gtk small as cross version set utilities daemon image written video player format sdk package http viewer control
port standard qt emulator unix toolkit management used desktop terminal like is time performance pure parser which level font java generator wrapper
multi graphical portable test gnome into processing easy extension browser programs create xml devices libraries distributed build modules gui window
configuration other kernel google powerful class you mode graphics object systems filesystem information plugins provides html interactive driver
environment formats be development functions music console git writing various testing project common run parsing json style remote designed virtual
between lisp pdf advanced convert shell type analysis extensible syntax memory unicode xfce more computer input service suite images it fuse space
keyboard allows make creating editing full manipulation generate can mail manage reading non compatible compression over digital javascript apis
storage tests popular many end fork microsoft monitoring dynamic front eclipse generation binary opengl binding manipulating authentication lv disk
classic multimedia clone complete multiple flexible`)

// rareWords is how many words there are beside them.
const rareWords = 30_000

// description makes one up. The word of rank r is in about one of r + 2 descriptions, as in nixpkgs.
func description(attr int) string {
	r := rand.New(rand.NewPCG(uint64(attr), 7))
	z := rand.NewZipf(r, 1.02, 3, rareWords)
	words := make([]string, 3+r.IntN(9))
	for i := range words {
		words[i] = vocabulary(int(z.Uint64()))
	}
	return strings.ToUpper(words[0][:1]) + strings.Join(words, " ")[1:]
}

// vocabulary is the word of a rank.
func vocabulary(rank int) string {
	if rank < len(said) {
		return said[rank]
	}
	var b strings.Builder
	for n := rank; n > 0; n /= 40 {
		b.WriteByte("bdfgklmn"[n%8])
		b.WriteByte("aeiou"[n/8%5])
	}
	return b.String() + "r"
}

// searched are searches by what packages say of themselves; the names of kinds of pages begin with "search".
func searched(attrs int) []pageKind {
	ask := func(words ...func(*rand.Rand) string) func(*rand.Rand) string {
		return func(r *rand.Rand) string {
			var text []string
			for _, w := range words {
				text = append(text, w(r))
			}
			return "/search?q=" + strings.Join(text, "+")
		}
	}
	rank := func(from, to int) func(*rand.Rand) string {
		return func(r *rand.Rand) string { return vocabulary(from + r.IntN(to-from)) }
	}
	wrong := func(r *rand.Rand) string {
		name := []byte(attributeName(r.IntN(attrs)))
		i := 1 + r.IntN(7)
		name[i], name[i+1] = name[i+1], name[i]
		return string(name)
	}
	return []pageKind{
		{"search, what it is", ask(rank(20, 400), rank(20, 400))},
		{"search, common words", ask(rank(5, 20), rank(5, 20))},
		{"search, a common word", ask(rank(0, 20))},
		{"search, a rare word", ask(rank(5, 20), rank(5000, rareWords))},
		{"search, many words", ask(rank(5, 400), rank(5, 400), rank(5, 400), rank(5, 400), rank(5, 400), rank(5, 400), rank(5, 400), rank(5, 400), rank(5, 400))},
		{"search, a slip", ask(wrong)},
	}
}
