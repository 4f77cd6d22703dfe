package web

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/firn-log/firn/tracker/api"
)

// The plot's room, in its own units.
const (
	plotW, plotH             = 720, 250
	plotLeft, plotRight      = 84, 12
	plotTop, plotBottom      = 10, 44
	plotInnerW, plotInnerH   = plotW - plotLeft - plotRight, plotH - plotTop - plotBottom
	plotRows                 = 24 // rows of the table beside it
	plotMinLabel             = 26 // height from which a band has its name in it
	plotLabelFrom            = 8  // distance of that name from the right
	plotLabelBase, plotLabel = 5, 13
)

// stacked are the bands from the bottom up.
var stacked = []api.State{api.Agree, api.Missing, api.Differ, api.Copying}

// plotView is a trend as the template shows it.
type plotView struct {
	SVG    template.HTML
	Rows   []api.TrendPoint // newest first, at most plotRows
	Points int
	Last   api.Counts
}

// plot draws how the shares of states changed. It is drawn from numbers and
// dates only, and what names it is escaped.
func plot(name string, points []api.TrendPoint) plotView {
	return plotOf(name, points, "evaluation", func(p api.TrendPoint) string { return day(p.Time) })
}

// plotOf is plot of points of which each is one of what, and is called by label, in ASCII.
func plotOf(name string, points []api.TrendPoint, what string, label func(api.TrendPoint) string) plotView {
	v := plotView{Points: len(points)}
	if len(points) == 0 {
		return v
	}
	v.Last = points[len(points)-1].Counts
	for i := len(points) - 1; i >= 0; i -= max(1, (len(points)+plotRows-1)/plotRows) {
		v.Rows = append(v.Rows, points[i])
	}
	first, last := points[0], points[len(points)-1]
	var b, labels strings.Builder
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %d %d" role="img">`, plotW, plotH)
	fmt.Fprintf(&b, `<title>Share reproduced in %s</title>`, xmlText(show(name)))
	fmt.Fprintf(&b, `<desc>Stacked shares of outputs by state, %s to %s: agree went from %s to %s, differ from %s to %s. The table below has the numbers.</desc>`,
		xmlText(label(first)), xmlText(label(last)), percent(first.Counts.Share(api.Agree)), percent(last.Counts.Share(api.Agree)),
		percent(first.Counts.Share(api.Differ)), percent(last.Counts.Share(api.Differ)))
	bands(&b, &labels, points)
	axes(&b, points, what, label)
	b.WriteString(labels.String() + `</svg>`)
	v.SVG = template.HTML(b.String()) //nolint:gosec // numbers, and escaped text
	return v
}

// plotX is where points stand: by time, or evenly if time does not tell them apart.
func plotX(points []api.TrendPoint) []float64 {
	out := make([]float64, len(points))
	span := points[len(points)-1].Time.Sub(points[0].Time)
	for i, p := range points {
		f := float64(i) / float64(max(1, len(points)-1))
		if span > 0 {
			f = min(1, max(0, float64(p.Time.Sub(points[0].Time))/float64(span)))
		}
		out[i] = plotLeft + f*plotInnerW
	}
	return out
}

// bands draws areas, and into labels what they are called: that goes above the lines of the axes.
func bands(b, labels *strings.Builder, points []api.TrendPoint) {
	xs := plotX(points)
	if len(points) == 1 { // one evaluation fills the plot
		xs, points = []float64{plotLeft, plotLeft + plotInnerW}, []api.TrendPoint{points[0], points[0]}
	}
	low := make([]float64, len(points))
	for _, s := range stacked {
		var top, under strings.Builder
		high := make([]float64, len(points))
		any := false
		for i, p := range points {
			share := p.Counts.Share(s)
			any = any || share > 0
			high[i] = low[i] + share
			fmt.Fprintf(&top, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[i == 0], xs[i], plotY(high[i]))
		}
		for i := len(points) - 1; i >= 0; i-- {
			fmt.Fprintf(&under, "L%.1f %.1f", xs[i], plotY(low[i]))
		}
		if any {
			fmt.Fprintf(b, `<path class="area %s" d="%s%sZ"/><path class="line %s" d="%s"/>`, s, top.String(), under.String(), s, top.String())
			n := len(points) - 1
			if y0, y1 := plotY(high[n]), plotY(low[n]); y1-y0 >= plotMinLabel {
				fmt.Fprintf(labels, `<text class="band %s" x="%d" y="%.1f" text-anchor="end">%s %s</text>`, s, plotW-plotRight-plotLabelFrom, (y0+y1)/2+plotLabelBase, s, percent(points[n].Counts.Share(s)))
			}
		}
		low = high
	}
}

func plotY(share float64) float64 { return plotTop + (1-share)*plotInnerH }

func axes(b *strings.Builder, points []api.TrendPoint, what string, label func(api.TrendPoint) string) {
	for _, y := range []float64{0, 0.25, 0.5, 0.75, 1} {
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fH%d"/>`, plotLeft, plotY(y), plotW-plotRight)
		if y == 0 || y == 0.5 || y == 1 {
			fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%.0f %%</text>`, plotLeft-8, plotY(y)+plotLabelBase, 100*y)
		}
	}
	ends := []struct {
		x      int
		anchor string
		p      api.TrendPoint
	}{{plotLeft, "start", points[0]}, {plotLeft + plotInnerW, "end", points[len(points)-1]}}
	for i, e := range ends {
		if i == 1 && len(points) == 1 {
			break
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s">%s</text>`, e.x, plotH-plotBottom+plotLabel+8, e.anchor, xmlText(label(e.p)))
	}
	fmt.Fprintf(b, `<text class="axis" x="%d" y="%d" text-anchor="middle">share of outputs, by %s</text>`, plotLeft+plotInnerW/2, plotH-6, what)
}

// bar draws shares as one line; the words beside it say the same.
func bar(c api.Counts) template.HTML {
	if c.Total() == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(`<svg class="bar" viewBox="0 0 200 6" preserveAspectRatio="none" aria-hidden="true">`)
	x := 0.0
	for _, s := range stacked {
		w := 200 * c.Share(s)
		if w > 0 {
			fmt.Fprintf(&b, `<rect class="fill %s" x="%.2f" width="%.2f" height="6"/>`, s, x, w)
		}
		x += w
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // numbers only
}
