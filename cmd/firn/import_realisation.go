package main

import (
	"context"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/internal/bincache"
)

const realisationHelp = `With --realisation ID what listed keys signed about an output of a content-addressed
derivation is brought too, in a statement that --key signs: ID is
sha256:HASH!OUTPUT, as in the cache's folder realisations, or DRV!OUTPUT, with the
path of the resolved derivation.`

// parseRealisations reads the ids of --realisation.
func parseRealisations(texts []string) ([]bincache.RealisationID, error) {
	var ids []bincache.RealisationID
	for _, text := range texts {
		id, err := bincache.ParseRealisationID(text)
		if err != nil {
			return nil, failf(exitUsage, "it looks like sha256:HASH!out, or /nix/store/...-name.drv!out", "--realisation: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// importRealisations brings the realisations of a job, after its paths.
func importRealisations(ctx context.Context, c *bincache.Client, job *importJob, o cache.Options, sum *cache.Summary) error {
	if len(job.realisations) == 0 {
		return nil
	}
	return cache.ImportRealisations(ctx, c, job.realisations, job.signer, o, sum)
}
