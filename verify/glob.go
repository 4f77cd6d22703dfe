package verify

// maxGlobStates bounds the work of comparing two globs.
const maxGlobStates = 1000

// matchGlob reports whether name is as glob says: * stands for any number of
// characters, ? for one, everything else for itself (spec/policy.md#rules).
func matchGlob(glob, name string) bool {
	star, from := -1, 0
	g, n := 0, 0
	for n < len(name) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, from = g, n
			g++
		case g < len(glob) && (glob[g] == '?' || glob[g] == name[n]):
			g, n = g+1, n+1
		case star >= 0:
			from++
			g, n = star+1, from
		default:
			return false
		}
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob)
}

// coversGlob reports whether wide matches everything that narrow matches. It runs
// both as automata: reach holds the places in wide that may have been reached when
// narrow is at its place, for every word that narrow allows. A character that is in
// neither of them stands for all such characters. Of globs that are too involved it
// says no.
func coversGlob(wide, narrow string) bool {
	type state struct {
		at    int
		reach string // a bit per place in wide
	}
	alphabet := []byte{0}
	seen := make(map[byte]bool)
	for _, c := range []byte(wide + narrow) {
		if c != '*' && c != '?' && !seen[c] {
			seen[c] = true
			alphabet = append(alphabet, c)
		}
	}
	start := make([]byte, len(wide)+1)
	start[0] = 1
	closeStars(wide, start)
	todo := []state{{0, string(start)}}
	done := map[state]bool{todo[0]: true}
	visit := func(s state) {
		if !done[s] {
			done[s] = true
			todo = append(todo, s)
		}
	}
	for len(todo) > 0 {
		if len(done) > maxGlobStates {
			return false
		}
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if s.at == len(narrow) {
			if s.reach[len(wide)] == 0 {
				return false
			}
			continue
		}
		if narrow[s.at] == '*' {
			visit(state{s.at + 1, s.reach})
		}
		for _, c := range alphabet {
			switch n := narrow[s.at]; {
			case n == '*':
				visit(state{s.at, step(wide, s.reach, c)})
			case n == '?' || n == c:
				visit(state{s.at + 1, step(wide, s.reach, c)})
			}
		}
	}
	return true
}

// step reads one character at every place of a glob.
func step(glob, reach string, c byte) string {
	next := make([]byte, len(glob)+1)
	for i := range len(glob) {
		switch {
		case reach[i] == 0:
		case glob[i] == '*':
			next[i] = 1
		case glob[i] == '?' || glob[i] == c:
			next[i+1] = 1
		}
	}
	closeStars(glob, next)
	return string(next)
}

// closeStars adds the places after a *, which may stand for nothing.
func closeStars(glob string, reach []byte) {
	for i := range len(glob) {
		if reach[i] == 1 && glob[i] == '*' {
			reach[i+1] = 1
		}
	}
}
