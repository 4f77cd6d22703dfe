package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// row is one line of the result table. fraction relates the value to one of
// the calibration lines or to a peer measured in the same run.
type row struct {
	what, value, target, fraction string
	met                           bool
}

func (r row) verdict() string {
	switch {
	case r.target == "":
		return ""
	case r.met:
		return "met"
	}
	return "MISSED"
}

// writeTable prints rows as a Markdown table whose columns also align in a
// terminal.
func writeTable(w io.Writer, rows []row) {
	cells := [][]string{{"what", "measured", "target", "", "as a fraction"}}
	for _, r := range rows {
		cells = append(cells, []string{r.what, r.value, r.target, r.verdict(), r.fraction})
	}
	width := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	for n, line := range cells {
		for i, c := range line {
			fmt.Fprintf(w, "| %s%s ", c, strings.Repeat(" ", width[i]-len([]rune(c))))
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for _, wd := range width {
				fmt.Fprintf(w, "|%s", strings.Repeat("-", wd+2))
			}
			fmt.Fprintln(w, "|")
		}
	}
}

// machine describes where the numbers come from, without naming the host.
func machine() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores of %s, %s/%s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func heading(now time.Time) string {
	return fmt.Sprintf("# Results of the last `make bench`\n\n%s, %s. Shared machine: compare fractions, not absolute numbers.\n", now.UTC().Format(time.DateOnly), machine())
}

func count(f float64) string {
	switch {
	case f >= 1e9:
		return fmt.Sprintf("%.2f G", f/1e9)
	case f >= 1e6:
		return fmt.Sprintf("%.2f M", f/1e6)
	}
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func millis(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
