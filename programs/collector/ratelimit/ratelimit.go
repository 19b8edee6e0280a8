// Package ratelimit is a processor that counts log lines, and lets each container write so much and no more: what one of
// them floods neither fills the disk nor holds up the others. What it drops is told by a metric and a warning.
package ratelimit

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processorhelper"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// Config says how much one container may write.
type Config struct {
	BytesPerSecond int `mapstructure:"bytes_per_second"`
	// BurstBytes may come at once.
	BurstBytes int `mapstructure:"burst_bytes"`
}

// Validate refuses limits that would let nothing pass.
func (c *Config) Validate() error {
	if c.BytesPerSecond <= 0 || c.BurstBytes <= 0 {
		return errors.New("bytes_per_second and burst_bytes must be positive")
	}
	return nil
}

// NewFactory returns the factory of processor `ratelimit`.
func NewFactory() processor.Factory {
	return processor.NewFactory(
		component.MustNewType("ratelimit"),
		func() component.Config { return &Config{BytesPerSecond: 256 << 10, BurstBytes: 16 << 20} },
		processor.WithLogs(create, component.StabilityLevelDevelopment),
	)
}

// idle is how long a container's account is kept after its last line.
const idle = time.Hour

type account struct {
	limiter *rate.Limiter
	used    time.Time
	warned  time.Time
}

type limiter struct {
	config         *Config
	logger         *zap.Logger
	lines, dropped metric.Int64Counter
	droppedBytes   metric.Int64Counter
	size           plog.ProtoMarshaler

	lock     sync.Mutex
	accounts map[string]*account
	swept    time.Time
}

func create(ctx context.Context, set processor.Settings, config component.Config, next consumer.Logs) (processor.Logs, error) {
	meter := set.MeterProvider.Meter("betelgeuse.local/programs/collector/ratelimit")
	lines, err1 := meter.Int64Counter("otelcol_log_lines", metric.WithDescription("Lines that containers wrote."))
	dropped, err2 := meter.Int64Counter("otelcol_log_lines_dropped",
		metric.WithDescription("Lines dropped because their container writes too much."))
	bytes, err3 := meter.Int64Counter("otelcol_log_bytes_dropped",
		metric.WithDescription("Bytes dropped because their container writes too much."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	l := &limiter{
		config: config.(*Config), logger: set.Logger, lines: lines, dropped: dropped, droppedBytes: bytes,
		accounts: map[string]*account{},
	}
	return processorhelper.NewLogs(ctx, set, config, next, l.process,
		processorhelper.WithCapabilities(consumer.Capabilities{MutatesData: true}))
}

func (l *limiter) process(ctx context.Context, logs plog.Logs) (plog.Logs, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	now := time.Now()
	l.sweep(now)
	logs.ResourceLogs().RemoveIf(func(resource plog.ResourceLogs) bool {
		l.limit(ctx, resource, now)
		return resource.ScopeLogs().Len() == 0
	})
	if logs.ResourceLogs().Len() == 0 {
		return logs, processorhelper.ErrSkipProcessingData
	}
	return logs, nil
}

var levels = []string{"NONE", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

// level is one of seven words: the text is the container's own, and a label of a metric must not be.
func level(number plog.SeverityNumber) string {
	return levels[min(max(int(number)+3, 0)/4, len(levels)-1)]
}

func text(attributes pcommon.Map, name string) string {
	if value, found := attributes.Get(name); found {
		return value.AsString()
	}
	return ""
}

func (l *limiter) limit(ctx context.Context, resource plog.ResourceLogs, now time.Time) {
	attributes := resource.Resource().Attributes()
	namespace, pod := text(attributes, "k8s.namespace.name"), text(attributes, "k8s.pod.name")
	container, workload := text(attributes, "k8s.container.name"), text(attributes, "k8s.workload.name")
	key := namespace + "/" + pod + "/" + container
	account := l.account(key, now)
	from := []attribute.KeyValue{attribute.String("namespace", namespace), attribute.String("workload", workload)}
	seen, lost, lostBytes := map[string]int64{}, int64(0), int64(0)
	resource.ScopeLogs().RemoveIf(func(scope plog.ScopeLogs) bool {
		scope.LogRecords().RemoveIf(func(record plog.LogRecord) bool {
			seen[level(record.SeverityNumber())]++
			size := min(l.size.LogRecordSize(record), l.config.BurstBytes)
			// By the time at which the line was written: what is read late, after an outage of ours, was no flood.
			if account.limiter.AllowN(record.Timestamp().AsTime(), size) {
				return false
			}
			lost++
			lostBytes += int64(size)
			return true
		})
		return scope.LogRecords().Len() == 0
	})
	for word, count := range seen {
		l.lines.Add(ctx, count, metric.WithAttributes(append(from, attribute.String("level", word))...))
	}
	if lost == 0 {
		return
	}
	where := metric.WithAttributes(append(from, attribute.String("container", container))...)
	l.dropped.Add(ctx, lost, where)
	l.droppedBytes.Add(ctx, lostBytes, where)
	if now.Sub(account.warned) > time.Minute {
		account.warned = now
		l.logger.Warn("a container writes too much: lines are dropped", zap.String("container", key))
	}
}

func (l *limiter) account(key string, now time.Time) *account {
	found := l.accounts[key]
	if found == nil {
		found = &account{limiter: rate.NewLimiter(rate.Limit(l.config.BytesPerSecond), l.config.BurstBytes)}
		l.accounts[key] = found
	}
	found.used = now
	return found
}

func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < idle {
		return
	}
	l.swept = now
	for key, account := range l.accounts {
		if now.Sub(account.used) > idle {
			delete(l.accounts, key)
		}
	}
}
