package hydra

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Bounds of what a Hydra may answer (spec/import.md#what-is-asked-of-a-hydra).
const (
	maxPageLen   = 1 << 30  // the list names every build of its evaluations
	maxBuildsLen = 4 << 30  // of /eval/ID/builds
	maxEvalLen   = 64 << 20 // of /eval/ID
	maxEvalValue = 16 << 20 // of one evaluation in a list
	maxBuild     = 4 << 20  // of one build
	maxPageEvals = 10_000
	maxBuilds    = 500_000 // of one evaluation
	maxOutputs   = 1_000_000
	maxStatus    = 255
	maxNumber    = 1 << 53 // of an evaluation
	maxTime      = 253402300799
)

// Hydra is a Hydra that is asked over its JSON API. Its methods may be called
// concurrently.
type Hydra struct{ site *bincache.Site }

// Open returns the Hydra at an http or https address. It asks nobody.
func Open(rawURL string, o bincache.ClientOptions) (*Hydra, error) {
	site, err := bincache.NewSite(rawURL, o)
	if err != nil {
		return nil, fmt.Errorf("the address of the Hydra: %w", err)
	}
	return &Hydra{site}, nil
}

// URL returns the address without user and password.
func (h *Hydra) URL() string { return h.site.URL() }

func (h *Hydra) ask(ctx context.Context, ref, etag string, limit, value int64, read func(*decoder) error) (string, error) {
	etag, err := h.site.Ask(ctx, bincache.Question{Ref: ref, Accept: "application/json", ETag: etag, Limit: limit}, func(r io.Reader) error {
		d, err := newDecoder(r, value)
		if err == nil {
			err = read(d)
		}
		return err
	})
	if len(etag) > maxETag {
		etag = ""
	}
	var stop *bincache.StopError
	if errors.As(err, &stop) {
		err = &StopError{stop.URL, stop.Err}
	}
	return etag, err
}

const maxETag = 256

// A StopError says that asking the Hydra for more is pointless now.
type StopError struct {
	URL string
	Err error
}

func (e *StopError) Error() string { return fmt.Sprintf("the Hydra %s %v", e.URL, e.Err) }
func (e *StopError) Unwrap() error { return e.Err }

// page is one page of the evaluations of a jobset.
type page struct {
	evals []uint64 // numbers, as they stand there
	next  int      // number of the page that it names as the next; 0 if none
}

func (h *Hydra) page(ctx context.Context, j JobsetName, n int, etag string) (*page, string, error) {
	var p *page
	etag, err := h.ask(ctx, fmt.Sprintf("jobset/%s/%s/evals?page=%d", j.Project, j.Jobset, n), etag, maxPageLen, maxEvalValue, func(d *decoder) (err error) {
		p, err = parsePage(d)
		return err
	})
	if errors.Is(err, bincache.ErrMissing) {
		err = fmt.Errorf("the Hydra %s has no jobset %s, or does not show it", h.URL(), j)
	}
	return p, etag, err
}

var nextPage = regexp.MustCompile(`^\?page=([1-9][0-9]{0,7})$`)

func parsePage(d *decoder) (*page, error) {
	p, found := &page{}, false
	err := d.object(func(name string) error {
		switch name {
		case "next":
			var next *string
			if err := d.value(&next); err != nil {
				return errors.New("has a next page that is not text")
			}
			if next == nil {
				return nil
			}
			m := nextPage.FindStringSubmatch(*next)
			if m == nil {
				return fmt.Errorf("names %q as the next page, which does not look like ?page=2", bincache.Clip(*next))
			}
			p.next, _ = strconv.Atoi(m[1])
			return nil
		case "evals":
			found, p.evals = true, nil
			return d.array("evaluations", maxPageEvals, func(i int) error {
				var e struct {
					ID *uint64 `json:"id"`
				}
				if err := d.value(&e); err != nil {
					return err
				}
				if e.ID == nil || *e.ID == 0 || *e.ID > maxNumber {
					return fmt.Errorf("lists an evaluation without a number, number %d there", i+1)
				}
				p.evals = append(p.evals, *e.ID)
				return nil
			})
		}
		return d.value(&ignore{})
	})
	if err == nil {
		err = d.end()
	}
	if err == nil && !found {
		err = errors.New("has no evals, so it is not the list of evaluations of a Hydra")
	}
	return p, err
}

// eval is what a Hydra says about an evaluation.
type eval struct {
	timestamp uint64
	inputs    []statement.EvalInput
}

// wireEval is an evaluation in JSON.
type wireEval struct {
	ID        *uint64              `json:"id"`
	Timestamp *int64               `json:"timestamp"`
	Flake     *string              `json:"flake"`
	Inputs    map[string]wireInput `json:"jobsetevalinputs"`
}

type wireInput struct {
	Type     *string `json:"type"`
	URI      *string `json:"uri"`
	Revision *string `json:"revision"`
}

func (h *Hydra) eval(ctx context.Context, id uint64) (*eval, error) {
	var e *eval
	_, err := h.ask(ctx, fmt.Sprintf("eval/%d", id), "", maxEvalLen, maxEvalLen, func(d *decoder) (err error) {
		e, err = parseEval(d, id)
		return err
	})
	return e, h.gone(err, id)
}

// gone says what is missing.
func (h *Hydra) gone(err error, id uint64) error {
	if errors.Is(err, bincache.ErrMissing) {
		return fmt.Errorf("the Hydra %s lists the evaluation %d and does not have it, or does not show it", h.URL(), id)
	}
	return err
}

func parseEval(d *decoder, id uint64) (*eval, error) {
	var w wireEval
	err := d.value(&w)
	if err == nil {
		err = d.end()
	}
	switch {
	case err != nil:
		return nil, err
	case w.ID == nil || *w.ID != id:
		return nil, errors.New("is not about this evaluation")
	case w.Timestamp == nil || *w.Timestamp < 0 || *w.Timestamp > maxTime:
		return nil, errors.New("does not say when it was evaluated")
	}
	return &eval{uint64(*w.Timestamp), inputsOf(&w)}, nil
}

// builds are those of an evaluation, all of which have ended.
type builds struct {
	drvs     []nix.StorePath
	outs     []nix.StorePath // of those that succeeded
	statuses map[int]int
}

// errUnfinished says that a build has not ended.
var errUnfinished = errors.New("has a build that has not ended")

// builds returns the builds of an evaluation. It reads no further than to the
// first that has not ended, which is errUnfinished. The ETag is there beside it.
func (h *Hydra) builds(ctx context.Context, dir nix.StoreDir, id uint64, etag string) (*builds, string, error) {
	var b *builds
	etag, err := h.ask(ctx, fmt.Sprintf("eval/%d/builds", id), etag, maxBuildsLen, maxBuild, func(d *decoder) (err error) {
		b, err = parseBuilds(d, dir)
		return err
	})
	return b, etag, h.gone(err, id)
}

// wireBuild is a build in JSON.
type wireBuild struct {
	ID       *uint64                `json:"id"`
	Finished *flag                  `json:"finished"`
	Status   *int64                 `json:"buildstatus"`
	Drv      *string                `json:"drvpath"`
	Outputs  map[string]*wireOutput `json:"buildoutputs"`
}

type wireOutput struct {
	Path *string `json:"path"`
}

func parseBuilds(d *decoder, dir nix.StoreDir) (*builds, error) {
	b := &builds{statuses: make(map[int]int)}
	err := d.array("builds", maxBuilds, func(i int) error {
		var w wireBuild
		if err := d.value(&w); err != nil {
			return err
		}
		if w.ID == nil {
			return fmt.Errorf("has a build without an id, number %d there", i+1)
		}
		if err := b.add(&w, dir); err != nil {
			if err == errUnfinished {
				return err
			}
			return fmt.Errorf("says of the build %d that %w", *w.ID, err)
		}
		return nil
	})
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return nil, err
	}
	b.drvs, b.outs = sorted(b.drvs), sorted(b.outs)
	return b, nil
}

func (b *builds) add(w *wireBuild, dir nix.StoreDir) error {
	switch {
	case w.Finished == nil:
		return errors.New("nobody knows whether it has ended: finished is missing")
	case !bool(*w.Finished):
		return errUnfinished
	case w.Status == nil || *w.Status < 0 || *w.Status > maxStatus:
		return errors.New("it has ended without a buildstatus")
	case w.Drv == nil:
		return errors.New("it has no drvpath")
	}
	drv, err := dir.Parse(*w.Drv)
	if err != nil || !drv.IsDerivation() || len(drv.Name()) == len(".drv") {
		return fmt.Errorf("its drvpath is %q, which is no derivation in %s", bincache.Clip(*w.Drv), dir)
	}
	b.drvs = append(b.drvs, drv)
	b.statuses[int(*w.Status)]++
	if *w.Status != 0 {
		return nil
	}
	if len(w.Outputs) == 0 {
		return errors.New("it succeeded and has no outputs")
	}
	for name, out := range w.Outputs {
		if out == nil || out.Path == nil {
			return fmt.Errorf("it succeeded and its output %q has no path", bincache.Clip(name))
		}
		p, err := dir.Parse(*out.Path)
		if err != nil || p.IsDerivation() {
			return fmt.Errorf("its output %q is %q, which is no output in %s", bincache.Clip(name), bincache.Clip(*out.Path), dir)
		}
		b.outs = append(b.outs, p)
	}
	if len(b.outs) > maxOutputs {
		return fmt.Errorf("it makes more than %d outputs, which is not believable", maxOutputs)
	}
	return nil
}
