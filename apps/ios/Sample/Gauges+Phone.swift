import UIKit

extension Gauges {
    /// What iOS tells an app. `check` is called between inferences.
    static func ofThisPhone(check: @escaping @Sendable () throws -> Void) -> Gauges {
        Gauges(
            sensors: [
                Sensor(name: "thermal.state", unit: "level", source: "ProcessInfo.thermalState: nominal 0, critical 3"),
                Sensor(name: "battery.level", unit: "%", source: "UIDevice.batteryLevel, in steps of the system"),
                Sensor(name: "memory.footprint", unit: "bytes", source: "phys_footprint of TASK_VM_INFO"),
            ],
            read: {
                var values: [String: Double] = [:]
                values["thermal.state"] = level(ProcessInfo.processInfo.thermalState)
                // -1 where it is not known, as in a simulator.
                let battery = await UIDevice.current.batteryLevel
                if battery >= 0 { values["battery.level"] = Double(battery) * 100 }
                if let footprint = footprint() { values["memory.footprint"] = Double(footprint.now) }
                return values
            },
            memory: footprint, check: check)
    }

    private static func level(_ state: ProcessInfo.ThermalState) -> Double? {
        switch state {
        case .nominal: 0
        case .fair: 1
        case .serious: 2
        case .critical: 3
        @unknown default: nil
        }
    }

    /// What iOS counts against the limit of an app: without pages of files, such as those of a mapped model.
    @Sendable
    private static func footprint() -> Memory? {
        var info = task_vm_info_data_t()
        let words = MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size
        var count = mach_msg_type_number_t(words)
        let status = withUnsafeMutablePointer(to: &info) {
            $0.withMemoryRebound(to: integer_t.self, capacity: words) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        guard status == KERN_SUCCESS else { return nil }
        return Memory(
            now: Int(info.phys_footprint), peak: Int(info.ledger_phys_footprint_peak),
            source: "phys_footprint of TASK_VM_INFO, which leaves out pages of files")
    }
}
