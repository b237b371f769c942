// Measures as the app does, without a phone: JOB FOLDER [AFTER]; the app leaves the foreground when it was asked AFTER
// times whether it still is there. test_app_ios_swift.py judges what it prints and writes.
import Foundation

@main
enum Main {
    static func main() async {
        let arguments = CommandLine.arguments
        let left = Counter(arguments.count > 3 ? Int(arguments[3])! : .max)
        let names = ["thermal.state", "battery.level", "memory.footprint"]
        let gauges = Gauges(
            sensors: names.map { Gauges.Sensor(name: $0, unit: "unit", source: "the test") },
            read: { ["thermal.state": 1, "memory.footprint": 12_345_678] },
            memory: { Gauges.Memory(now: 1000, peak: Clock.monotonic(), source: "the test") },
            check: { if left.next() <= 0 { throw MeasureError("the app left the foreground") } })
        let folder = URL(fileURLWithPath: arguments[2])
        print("failure \(await record(arguments[1], in: folder, gauges) ?? "none")")
        // What has to be as in the kit's runner: ranks, and the decision when a warm-up is over.
        for n in [5, 6, 50, 1000, 100_000] { print("rank \(n) \(lowerRank(n))") }
        for step in [0, 0.0001, 0.01, 0.05] {
            print("steady \(step) \(isSteady((0..<9).map { 100 * (1 + step * Double($0)) }, tolerance: 0.02))")
        }
        print("steady noise \(isSteady([100, 130, 90, 140, 95, 150, 92, 120], tolerance: 0.001))")
        print("width \(relativeHalfWidth(Array(1...1001)))")
    }
}

/// Counts down, from any thread.
final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Int

    init(_ value: Int) {
        self.value = value
    }

    func next() -> Int {
        lock.withLock {
            value -= 1
            return value
        }
    }
}
