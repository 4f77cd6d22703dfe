package verify

import (
	"fmt"
	"slices"
)

// openVoters says of whom something is missing that concerns every path.
func (v *verification) openVoters() map[string]string {
	open := make(map[string]string)
	everybody := v.missingForAll()
	for _, o := range v.pol.Operators {
		st := v.directory.standing[o.Name]
		why := everybody
		if why == "" && o.ID != nil && st.Home == "" {
			why = fmt.Sprintf("operator %s is registered in no log of the policy", o.Name)
		}
		if why == "" {
			why = v.homeGap(o.Name, st)
		}
		if why == "" {
			why = v.unverifiedKey(o.Name, st)
		}
		if why != "" {
			open[o.Name] = why
		}
	}
	return open
}

// missingForAll is what is missing of every operator, or "".
func (v *verification) missingForAll() string {
	for _, r := range v.logs {
		if r.Required && r.gap != "" {
			return r.gap
		}
	}
	return ""
}

// homeGap says what is missing of an operator's home log, or "".
func (v *verification) homeGap(name string, st *Standing) string {
	for _, home := range st.homes {
		i := slices.IndexFunc(v.logs, func(r *reading) bool { return r.Origin == home })
		switch {
		case i < 0:
			return fmt.Sprintf("the home log of operator %s, %s, is not in the policy", name, home)
		case v.logs[i].gap != "":
			return v.logs[i].gap + fmt.Sprintf(", and it is the home log of operator %s", name)
		}
	}
	return ""
}

func (v *verification) unverifiedKey(name string, st *Standing) string {
	for _, k := range st.Keys {
		for _, r := range v.logs {
			if why := r.unverified[k]; why != "" {
				return fmt.Sprintf("key %s of operator %s %s", short(k), name, why)
			}
		}
	}
	return ""
}

// openAlso adds the operators of whom something is missing because log r
// remembers nothing about one path.
func (v *verification) openAlso(open map[string]string, r *reading) map[string]string {
	out := make(map[string]string, len(open))
	for name, why := range open {
		out[name] = why
	}
	for _, o := range v.pol.Operators {
		home := slices.Contains(v.directory.standing[o.Name].homes, r.Origin)
		if _, have := out[o.Name]; !have && (r.Required || home) {
			out[o.Name] = r.lead + " and nothing is remembered about this path"
			if v.opts.Bundle != nil {
				out[o.Name] = r.notInBundle("this path")
			}
		}
	}
	return out
}
