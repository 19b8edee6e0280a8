// Package tailsampling chooses among traces when they are complete, so that those with an error are kept whatever the
// share of the others. It takes a part of the settings of the processor of the same name among the collector's
// contributed components, whose module does not build with this release.
package tailsampling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"
)

// Config is how long a trace is waited for, how many wait at a time, and which are kept: those that any policy wants.
type Config struct {
	DecisionWait time.Duration `mapstructure:"decision_wait"`
	NumTraces    int           `mapstructure:"num_traces"`
	Policies     []Policy      `mapstructure:"policies"`
}

// Policy is a reason to keep a trace.
type Policy struct {
	Name          string        `mapstructure:"name"`
	Type          string        `mapstructure:"type"`
	StatusCode    StatusCode    `mapstructure:"status_code"`
	Probabilistic Probabilistic `mapstructure:"probabilistic"`
}

// StatusCode keeps traces in which a span ended with an error.
type StatusCode struct {
	StatusCodes []string `mapstructure:"status_codes"`
}

// Probabilistic keeps a share of all traces, in per cent: on every node the same ones.
type Probabilistic struct {
	SamplingPercentage float64 `mapstructure:"sampling_percentage"`
}

// Validate refuses what this package does not know: a policy that is skipped looks like one that holds.
func (config *Config) Validate() error {
	if config.DecisionWait <= 0 || config.NumTraces <= 0 || len(config.Policies) == 0 {
		return errors.New("decision_wait, num_traces and policies are needed")
	}
	for _, policy := range config.Policies {
		switch codes := policy.StatusCode.StatusCodes; policy.Type {
		case "status_code":
			if len(codes) != 1 || codes[0] != "ERROR" {
				return fmt.Errorf("policy %s: status_codes must be [ERROR]", policy.Name)
			}
		case "probabilistic":
			if share := policy.Probabilistic.SamplingPercentage; share < 0 || share > 100 {
				return fmt.Errorf("policy %s: sampling_percentage must be from 0 to 100", policy.Name)
			}
		default:
			return fmt.Errorf("policy %s: type must be status_code or probabilistic, not %q", policy.Name, policy.Type)
		}
	}
	return nil
}

// NewFactory makes processors of the type `tail_sampling`.
func NewFactory() processor.Factory {
	return processor.NewFactory(component.MustNewType("tail_sampling"), defaults, processor.WithTraces(newTraces, component.StabilityLevelBeta))
}

func defaults() component.Config {
	return &Config{DecisionWait: 30 * time.Second, NumTraces: 50000}
}

func newTraces(_ context.Context, settings processor.Settings, config component.Config, next consumer.Traces) (processor.Traces, error) {
	return newSampler(settings.TelemetrySettings, config.(*Config), next)
}
