package main

import (
	"strings"
	"testing"

	"github.com/firn-log/firn/federation/audit"
)

// The page does not look well while something is wrong.
func TestPageSaysWhatIsWrong(t *testing.T) {
	type shown struct {
		Origin, Hash, State string
		Size                uint64
		Cosigned            int64
		Audit               audit.Status
	}
	render := func(logs ...shown) string {
		t.Helper()
		var b strings.Builder
		if err := page.Execute(&b, map[string]any{
			"Name": "auditor.example/a1", "VKey": "", "State": "cosigning", "Doubt": "", "Started": int64(0), "Logs": len(logs), "Shown": logs,
			"Submission": "", "Monitoring": "", "Version": "",
		}); err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(b.String(), "<body>")
		return body
	}
	good := shown{Origin: "good.example", State: "following", Size: 8, Cosigned: 1, Audit: audit.Status{Computed: 8, Size: 8}}
	wrong := shown{Origin: "wrong.example", State: "following", Size: 8, Cosigned: 1, Audit: audit.Status{Computed: 9, Size: 9, Refused: true}}
	down := shown{Origin: "down.example", State: "waiting", Audit: audit.Status{Trouble: "connection <refused>"}}
	for name, tt := range map[string]struct {
		page      string
		want, not []string
	}{
		"all is well": {render(good), []string{">cosigning<", ">current<", "8 of 8"}, []string{"wrong", "not followed"}},
		"wrong":       {render(wrong), []string{">refusing<", ">wrong<", "The index of its log"}, []string{">cosigning<", ">current<"}},
		"one of two":  {render(good, wrong), []string{">cosigning<", "The index of 1 of 2 logs", ">current<"}, []string{">refusing<"}},
		"down":        {render(down), []string{">not followed<", "connection &lt;refused&gt;", "never"}, []string{">current<", "0 of 0"}},
	} {
		for _, s := range tt.want {
			if !strings.Contains(tt.page, s) {
				t.Errorf("%s: no %q in %s", name, s, tt.page)
			}
		}
		for _, s := range tt.not {
			if strings.Contains(tt.page, s) {
				t.Errorf("%s: there is %q", name, s)
			}
		}
	}
}
