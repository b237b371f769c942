import Foundation
import SampleModel

// What `edgedistill bench` asks of an app, without anything of a phone. The rules are those of docs/measuring.md and
// docs/devices.md.

private let windowIterations = 10
private let windowNs = 20_000_000
private let batchNs = 100_000_000
private let minSamplingNs = 500_000_000

/// Measures as the job `text` says, and writes the records, or an error, into a file under `documents`.
///
/// - Returns: What went wrong; nil where nothing did.
func record(_ text: String, in documents: URL, _ gauges: Gauges) async -> String? {
    do {
        let recorder = try Recorder(documents.appendingPathComponent(MeasureJob.out(of: text)))
        do {
            try await measure(MeasureJob.parse(text), recorder, gauges)
            return nil
        } catch {
            try await recorder.write("error", ["message": "\(type(of: error)): \(error)"])
            return "\(error)"
        }
    } catch {
        // Where to write is not known, or nothing can be written there.
        return "\(error)"
    }
}

/// Loads the job's artifact twice, warms up until steady, samples, and writes all records but `error`.
private func measure(_ job: MeasureJob, _ recorder: Recorder, _ gauges: Gauges) async throws {
    let options = LoadOptions(artifact: job.artifact)
    let before = gauges.memory()
    let loadBegan = Clock.monotonic()
    let first = try await Model.load(options: options)
    let loadNs = Clock.monotonic() - loadBegan
    let inputs = try randomInputs(of: first.artifact)
    try await recorder.write(
        "start",
        [
            "nonce": job.nonce,
            "versions": [first.info.runtime: first.info.version ?? "unknown: it does not tell"],
            "artifact": first.artifact.name,
            "sha256": first.artifact.sha256,
            // No runtime of this package takes a number of threads.
            "threads": job.threads,
            "delegate": first.info.delegate,
        ])
    try await clock(recorder)
    try await gauges.watch(recorder) {
        try await recorder.write("load", ["kind": "first", "ns": loadNs])
        try await recorder.write("first_inference", ["ns": timed(first, inputs)])
        try await memory(before, gauges.memory(), recorder)
        await first.close()
        try gauges.check()
        let warmBegan = Clock.monotonic()
        let model = try await Model.load(options: options)
        try await recorder.write("load", ["kind": "warm", "ns": Clock.monotonic() - warmBegan])
        let once: Once = {
            try gauges.check()
            return try await timed(model, inputs)
        }
        try await warmUp(job.bench, recorder, once)
        try await sample(job.bench, recorder, once)
        await model.close()
    }
    try await clock(recorder)
    try await recorder.end(nonce: job.nonce)
}

/// Runs once, and gives the nanoseconds that it took.
private typealias Once = @Sendable () async throws -> Int

private func timed(_ model: Model, _ inputs: [String: Tensor]) async throws -> Int {
    let began = Clock.monotonic()
    _ = try await model.run(inputs)
    return Clock.monotonic() - began
}

private func clock(_ recorder: Recorder) async throws {
    let (now, boottime) = (Clock.monotonic(), Clock.boottime())
    try await recorder.write("clock", ["monotonic_ns": now, "time_ns": Clock.wall(), "boottime_ns": boottime])
}

private func memory(_ before: Gauges.Memory?, _ after: Gauges.Memory?, _ recorder: Recorder) async throws {
    let raised = before.flatMap { old in after.flatMap { $0.peak > old.peak ? $0 : nil } }
    let source =
        raised.map { "\($0.source); the load raised it" }
        ?? (after == nil ? "the system does not tell it" : "the app had taken more memory before the load")
    try await recorder.write(
        "memory", ["rss_runtime_loaded": before?.now, "peak_rss": raised?.peak, "source": source])
}

/// Runs until the medians of windows are steady, or the time for it is up.
private func warmUp(_ bench: MeasureJob.Bench, _ recorder: Recorder, _ once: Once) async throws {
    let began = Clock.monotonic()
    let boundNs = Int(bench.warmupS * 1e9)
    var (medians, iterations, steady) = ([Double](), 0, false)
    while !steady && Clock.monotonic() - began < boundNs {
        var window = [Double(try await once())]
        let opened = Clock.monotonic()
        while true {
            let elapsed = Clock.monotonic() - opened
            if window.count >= windowIterations && elapsed >= windowNs || elapsed >= boundNs / 16 { break }
            window.append(Double(try await once()))
        }
        iterations += window.count
        medians.append(median(window))
        steady = isSteady(medians, tolerance: bench.relativeWidth)
    }
    let ns = Clock.monotonic() - began
    try await recorder.write(
        "warmup", ["iterations": iterations, "windows": medians.count, "steady": steady, "ns": ns])
}

/// Batches of 0.1 s, until the interval of the median is narrow enough or time is up.
private func sample(_ bench: MeasureJob.Bench, _ recorder: Recorder, _ once: Once) async throws {
    let began = Clock.monotonic()
    let minNs = max(minSamplingNs, Int((bench.minS ?? 0) * 1e9))
    var ordered: [Int] = []
    while true {
        let opened = Clock.monotonic()
        var batch: [Int] = []
        repeat {
            batch.append(try await once())
        } while Clock.monotonic() - opened < batchNs
        try await recorder.write("iterations", ["t0_ns": opened, "durations_ns": batch])
        ordered = (ordered + batch).sorted()
        if ordered.count < bench.minSamples { continue }
        let elapsed = Clock.monotonic() - began
        if Double(elapsed) >= bench.maxS * 1e9 { return }
        if elapsed >= minNs && relativeHalfWidth(ordered) <= bench.relativeWidth { return }
    }
}

/// The same random numbers each time: 0 to 1 for floating point, any byte for integers of 8 bits, else zeros.
private func randomInputs(of artifact: Manifest.Artifact) throws -> [String: Tensor] {
    var inputs: [String: Tensor] = [:]
    for spec in artifact.signature.inputs {
        var numbers = Numbers()
        let shape = spec.shape.map { $0.fixed ?? 1 }
        let count = shape.reduce(1, *)
        inputs[spec.name] =
            switch spec.dtype {
            case .float32: try Tensor((0..<count).map { _ in Float.random(in: 0..<1, using: &numbers) }, shape: shape)
            case .uint8, .int8:
                try Tensor(
                    dtype: spec.dtype, shape: shape,
                    data: Data((0..<count).map { _ in UInt8.random(in: 0...255, using: &numbers) }))
            default: try Tensor.zeros(spec.dtype, shape)
            }
    }
    return inputs
}

/// Swift's own generator has no seed. The constants are those of Knuth's MMIX.
private struct Numbers: RandomNumberGenerator {
    private var state: UInt64 = 1

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        // The low bits of such a generator have short periods.
        return state ^ state >> 32
    }
}
