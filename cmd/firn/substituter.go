package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/nix"
)

func newSubstituterCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "substituter",
		Short: "Set Nix up to take only what a policy lets in",
	}
	cmd.AddCommand(newSubstituterSetupCmd(a))
	return cmd
}

type substituterFlags struct {
	url, conf string
	json      bool
}

func newSubstituterSetupCmd(a *app) *cobra.Command {
	var f substituterFlags
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Show and test the settings that make Nix use firn-substituter",
		Long: `Ask the firn-substituter of this machine who it is, show what nix.conf has to
say, compare that with what it says, and name the ways around it.

As root the lines belong into /etc/nix/nix.conf, and nix-daemon is started
again. Without root, and with a daemon, Nix heeds substituters and keys only of
trusted users: ask whoever is root; what your own nix.conf says is then not
looked at. Where Nix runs without a daemon, the lines belong into
~/.config/nix/nix.conf. On NixOS: services.firn.substituter.publicKey.

Nothing is written. The status is 0 if Nix takes what comes through the
substituter and nothing else, and 3 otherwise (spec/substituter.md).`,
		Example: `  firn substituter setup
  firn substituter setup | sudo tee -a /etc/nix/nix.conf`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return substituterSetup(c.Context(), a, &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.url, "url", "http://127.0.0.1:8474", "where firn-substituter listens")
	fl.StringVar(&f.conf, "conf", "", "nix.conf to look at instead of Nix's own files")
	fl.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// nixSetting is one setting of Nix and what the substituter needs of it.
type nixSetting struct {
	Name string `json:"name"`
	Want string `json:"want"`
	Have string `json:"have"`
	Good bool   `json:"good"`
	Why  string `json:"why,omitempty"` // what follows otherwise
}

type substituterReport struct {
	Schema   int          `json:"schema"`
	Exit     int          `json:"exit"`
	URL      string       `json:"url"`
	Key      string       `json:"key"`
	Settings []nixSetting `json:"settings"`
	Files    []string     `json:"files"`  // that were looked at
	Todo     string       `json:"todo"`   // where the lines go, a sentence; "" if all is good
	Beyond   []string     `json:"beyond"` // ways around the substituter, a sentence each
}

func substituterSetup(ctx context.Context, a *app, f *substituterFlags) error {
	f.url = strings.TrimRight(f.url, "/")
	if u, err := url.Parse(f.url); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return failf(exitUsage, "", "--url takes the address of a substituter, such as http://127.0.0.1:8474, not %q", f.url)
	}
	key, err := askSubstituter(ctx, f.url)
	if err != nil {
		return err
	}
	sys, err := a.lookAtNix(f.conf)
	if err != nil {
		return failf(exitFailed, "", "reading the settings of Nix: %w", err)
	}
	rep := &substituterReport{
		Schema: 1, URL: f.url, Key: key, Settings: substituterSettings(sys.conf, f.url, key), Files: sys.files, Beyond: waysAround(sys.conf),
	}
	for _, s := range rep.Settings {
		if !s.Good {
			rep.Exit, rep.Todo = exitUntrusted, sys.todo(key)
		}
	}
	if f.json {
		e := json.NewEncoder(a.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(rep); err != nil {
			return failf(exitFailed, "", "%w", err)
		}
	} else {
		rep.write(a)
	}
	return errSilentUnless(rep.Exit)
}

// write prints the lines for nix.conf on stdout, and everything else on stderr.
func (r *substituterReport) write(a *app) {
	for _, s := range r.Settings {
		fmt.Fprintf(a.Stdout, "%s = %s\n", s.Name, s.Want)
	}
	looked := strings.Join(r.Files, ", ")
	if looked == "" {
		looked = "nothing, as there is no nix.conf"
	}
	fmt.Fprintf(a.Stderr, "\nThese are the lines for nix.conf. Looked at: %s.\n", looked)
	for _, s := range r.Settings {
		if s.Good {
			fmt.Fprintf(a.Stderr, "  good   %s\n", s.Name)
		} else {
			fmt.Fprintf(a.Stderr, "  wrong  %s is %q: %s\n", s.Name, s.Have, s.Why)
		}
	}
	if r.Todo == "" {
		fmt.Fprintln(a.Stderr, "Nix takes what comes through the substituter, and substitutes nothing else.")
	} else {
		fmt.Fprintln(a.Stderr, r.Todo)
	}
	fmt.Fprintln(a.Stderr, "Out of reach:")
	for _, w := range r.Beyond {
		fmt.Fprintf(a.Stderr, "  %s\n", w)
	}
}

func errSilentUnless(code int) error {
	if code == exitOK {
		return nil
	}
	return errSilent(code)
}

// askSubstituter returns the public key of the substituter at an address. Failures say what to do.
func askSubstituter(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/status.json", nil)
	if err != nil {
		return "", failf(exitUsage, "", "--url: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		var why *url.Error
		if errors.As(err, &why) {
			err = why.Err
		}
		return "", failf(exitFailed, "start it: systemctl enable --now firn-substituter.socket, or firn-substituter serve DIR; --url says where it listens",
			"no substituter answers at %s: %w", address, err)
	}
	defer resp.Body.Close()
	var status struct {
		Schema int    `json:"schema"`
		Key    string `json:"key"`
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answers %s", resp.Status)
	}
	if err == nil {
		err = json.Unmarshal(b, &status)
	}
	if err == nil {
		_, err = nix.ParsePublicKey(status.Key)
	}
	if err != nil {
		return "", failf(exitFailed, "name the address of firn-substituter with --url", "what answers at %s is no firn-substituter: %w", address, err)
	}
	return status.Key, nil
}

// substituterSettings compares what Nix has with what the substituter needs.
func substituterSettings(c nixConf, url, key string) []nixSetting {
	want := []nixSetting{
		{Name: "substituters", Want: url, Why: "what other substituters have is taken without asking the policy"},
		{Name: "trusted-public-keys", Want: key, Why: "this alone keeps out what the policy did not let in: whoever has another key can sign what Nix takes"},
		{Name: "require-sigs", Want: "true", Why: "otherwise Nix takes what nobody signed"},
		{Name: "narinfo-cache-positive-ttl", Want: "600", Why: "Nix remembers for that many seconds that a path may come; the NAR is refused all the same, with a worse message"},
		{Name: "narinfo-cache-negative-ttl", Want: "0", Why: "Nix remembers for that many seconds that a path is to be built here, when it is trusted already"},
		{Name: "fallback", Want: "false", Why: "what is refused is built here instead of stopping"},
	}
	for i := range want {
		s := &want[i]
		s.Have = c.of(s.Name)
		s.Good = s.Have == s.Want || s.Name == "substituters" && strings.TrimRight(s.Have, "/") == s.Want
		if s.Good {
			s.Why = ""
		}
	}
	return want
}

// waysAround names what does not ask the substituter, as far as the settings show it.
func waysAround(c nixConf) []string {
	out := []string{
		"root, and whoever writes to the store or its database",
		"`nix copy --to` this machine and `nix-store --import` by trusted users: they bring paths without a substituter",
		"paths that are in the store already: `firn verify` says what is known of them",
		"content-addressed paths need no signature in Nix; it takes them from the substituters above only",
	}
	var users []string
	for _, u := range strings.Fields(c.of("trusted-users")) {
		if u != "root" {
			users = append(users, u)
		}
	}
	if len(users) > 0 {
		out = append(out, "trusted-users: "+strings.Join(users, " ")+" may name other substituters and keys, each time; leave root alone there")
	}
	if s := c.of("trusted-substituters"); s != "" {
		out = append(out, "trusted-substituters: everybody may use "+s+"; without its key nothing signed there is taken")
	}
	if b := c.of("builders"); b != "" && b != "@/etc/nix/machines" {
		out = append(out, "builders: what remote builders send back is taken as built here: "+b)
	}
	if c.of("accept-flake-config") == "true" {
		out = append(out, "accept-flake-config: a flake that a trusted user builds may name other substituters and keys")
	}
	return out
}
