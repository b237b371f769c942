import Foundation

/// What a phone tells of itself while an app measures.
struct Gauges: Sendable {
    /// What can be read, by the names of docs/devices.md.
    struct Sensor: Encodable, Sendable {
        let name: String
        let unit: String
        let source: String
    }

    /// Of this process, in bytes.
    struct Memory: Sendable {
        let now: Int
        let peak: Int
        let source: String
    }

    let sensors: [Sensor]
    /// The values of the sensors by name, without those that the system does not tell.
    let read: @Sendable () async -> [String: Double]
    /// nil where the system does not tell.
    let memory: @Sendable () -> Memory?
    /// Called between inferences; throws to stop the measurement.
    let check: @Sendable () throws -> Void
}

extension Gauges {
    private struct Missing: Encodable {
        let name: String
        let unit: String
        let reason: String
    }

    /// Does `work`, and writes the values of the sensors once a second meanwhile.
    func watch(_ recorder: Recorder, during work: @Sendable () async throws -> Void) async throws {
        let first = await read()
        let missing = sensors.filter { first[$0.name] == nil }.map {
            Missing(name: $0.name, unit: $0.unit, reason: "the system does not tell it")
        }
        try await recorder.write(
            "sensors",
            ["interval_s": 1.0, "available": sensors.filter { first[$0.name] != nil }, "unavailable": missing])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await sweep(recorder) }
            // The group waits for the last sweep, so that none stands behind the last record.
            defer { group.cancelAll() }
            try await work()
        }
    }

    private func sweep(_ recorder: Recorder) async throws {
        while true {
            let time = Clock.monotonic()
            try await recorder.write("sensor", ["t_ns": time, "values": await read()])
            try await Task.sleep(nanoseconds: 1_000_000_000)
        }
    }
}
