// Declarations of Apple's UIKit, Foundation and kernel that the app uses beside the glue code, as documented. They only
// let tests check types on Linux.
@_exported import Foundation

@MainActor open class UIView {
    public init() {}
    open class var layerClass: AnyClass { CALayer.self }
    public var layer: CALayer { fatalError() }
}
open class CALayer {}

@MainActor public final class UIApplication {
    public enum State: Int, Sendable { case active, inactive, background }
    public static var shared: UIApplication { fatalError() }
    public var isIdleTimerDisabled = false
    public var applicationState: State { .active }
    public nonisolated static let didEnterBackgroundNotification = Notification.Name("")
}
@MainActor public final class UIDevice {
    public static var current: UIDevice { fatalError() }
    public var isBatteryMonitoringEnabled = false
    public var batteryLevel: Float { -1 }
}

// The kernel.
public typealias natural_t = UInt32
public typealias integer_t = Int32
public typealias mach_msg_type_number_t = UInt32
public typealias task_flavor_t = UInt32
public typealias kern_return_t = Int32
public let KERN_SUCCESS: kern_return_t = 0
public let TASK_VM_INFO: Int32 = 22
// A variable in the system's header. Swift 5, as the project has it, allows that.
public let mach_task_self_: UInt32 = 0
public struct task_vm_info_data_t {
    public init() {}
    public var phys_footprint: UInt64 = 0
    public var ledger_phys_footprint_peak: Int64 = 0
}
public func task_info(
    _ task: UInt32, _ flavor: task_flavor_t, _ info: UnsafeMutablePointer<integer_t>?,
    _ count: UnsafeMutablePointer<mach_msg_type_number_t>?
) -> kern_return_t { 0 }
// Of Foundation, where the one for Linux lacks it.
extension URL { public static var documentsDirectory: URL { fatalError() } }
extension ProcessInfo {
    public enum ThermalState: Int, Sendable { case nominal, fair, serious, critical }
    public var thermalState: ThermalState { .nominal }
}
