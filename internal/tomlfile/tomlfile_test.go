package tomlfile

import (
	"errors"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestFaultsNameTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"log = 1\nlog-policy = x\n": "f.toml:2:14: ",
		"log = 'a'\nlog = 'b'\n":    "f.toml:2:1: ",
		"number = 'many'\n":         "f.toml:1:10: ",
	} {
		var v struct{ Number int }
		err := toml.Unmarshal([]byte(text), &v)
		if err == nil {
			t.Errorf("%q is taken", text)
			continue
		}
		if got := Fault("f.toml", err).Error(); len(got) <= len(want) || got[:len(want)] != want {
			t.Errorf("%q: %s, want %s…", text, got, want)
		}
	}
	if got := Fault("f.toml", errors.New("other")).Error(); got != "f.toml: other" {
		t.Error(got)
	}
}
