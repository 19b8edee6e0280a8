// Package zipkin sends traces to Zipkin: POST of spans as JSON of version 2. It takes the settings of the exporter of the
// same name among the collector's contributed components, whose module the Go proxy does not serve at this release.
package zipkin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/zipkin/zipkinv2"
	"github.com/openzipkin/zipkin-go/reporter"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/confighttp"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// What Zipkin says about a refusal is one line; no more of it goes to the log.
const shown = 256

// Config is how Zipkin is reached (`endpoint` is the whole address), and what happens while it is not.
type Config struct {
	confighttp.ClientConfig `mapstructure:",squash"`
	Queue                   configoptional.Optional[exporterhelper.QueueBatchConfig] `mapstructure:"sending_queue"`
	Retry                   configretry.BackOffConfig                                `mapstructure:"retry_on_failure"`
}

// Validate tells what no default can stand in for.
func (config *Config) Validate() error {
	if config.Endpoint == "" {
		return errors.New("`endpoint` is the address that takes spans, as http://zipkin:9411/api/v2/spans")
	}
	return nil
}

// NewFactory makes exporters of the type `zipkin`.
func NewFactory() exporter.Factory {
	return exporter.NewFactory(component.MustNewType("zipkin"), defaults, exporter.WithTraces(newTraces, component.StabilityLevelBeta))
}

func defaults() component.Config {
	return &Config{
		ClientConfig: confighttp.NewDefaultClientConfig(),
		Queue:        configoptional.Some(exporterhelper.NewDefaultQueueConfig()),
		Retry:        configretry.NewDefaultBackOffConfig(),
	}
}

type sender struct {
	config    *Config
	telemetry component.TelemetrySettings
	client    *http.Client
}

func newTraces(ctx context.Context, settings exporter.Settings, config component.Config) (exporter.Traces, error) {
	own := config.(*Config)
	to := &sender{config: own, telemetry: settings.TelemetrySettings}
	return exporterhelper.NewTraces(ctx, settings, config, to.push,
		exporterhelper.WithStart(to.start),
		// The client has a limit of its own.
		exporterhelper.WithTimeout(exporterhelper.TimeoutConfig{Timeout: 0}),
		exporterhelper.WithRetry(own.Retry),
		exporterhelper.WithQueue(own.Queue))
}

func (to *sender) start(ctx context.Context, host component.Host) (err error) {
	to.client, err = to.config.ToClient(ctx, host.GetExtensions(), to.telemetry)
	return err
}

func (to *sender) push(ctx context.Context, traces ptrace.Traces) error {
	spans, err := (zipkinv2.FromTranslator{}).FromTraces(traces)
	if err != nil {
		return consumererror.NewPermanent(err)
	}
	body, err := (reporter.JSONSerializer{}).Serialize(spans)
	if err != nil {
		return consumererror.NewPermanent(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to.config.Endpoint, bytes.NewReader(body))
	if err != nil {
		return consumererror.NewPermanent(err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := to.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, shown))
	switch {
	case answer.StatusCode < http.StatusMultipleChoices:
		return err
	case answer.StatusCode >= http.StatusInternalServerError, answer.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("%s: %s", answer.Status, said)
	}
	// It will not be taken the next time either.
	return consumererror.NewPermanent(fmt.Errorf("%s: %s", answer.Status, said))
}
