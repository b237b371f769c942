// Declarations of Apple's AVFoundation that the app uses, as documented. They only let tests check types on Linux.
@_exported import CoreVideo
@_exported import Foundation
import UIKit

public struct AVMediaType: Sendable { public static let video = AVMediaType() }
public final class CMSampleBuffer {}
public func CMSampleBufferGetImageBuffer(_ buffer: CMSampleBuffer) -> CVImageBuffer? { nil }
public let kCVPixelBufferPixelFormatTypeKey: CFString = ""
public final class AVCaptureDevice {
    public enum DeviceType { case builtInWideAngleCamera }
    public enum Position: Int { case unspecified, back, front }
    public static func requestAccess(for type: AVMediaType) async -> Bool { true }
    public static func `default`(_ kind: DeviceType, for type: AVMediaType?, position: Position) -> AVCaptureDevice? {
        nil
    }
}
open class AVCaptureInput {}
public final class AVCaptureDeviceInput: AVCaptureInput { public init(device: AVCaptureDevice) throws {} }
open class AVCaptureOutput {}
public final class AVCaptureConnection {}
public protocol AVCaptureVideoDataOutputSampleBufferDelegate: NSObjectProtocol {
    func captureOutput(
        _ output: AVCaptureOutput, didOutput sampleBuffer: CMSampleBuffer, from connection: AVCaptureConnection)
}
public final class AVCaptureVideoDataOutput: AVCaptureOutput {
    public override init() {}
    public var videoSettings: [String: Any]! = [:]
    public var alwaysDiscardsLateVideoFrames = true
    public func setSampleBufferDelegate(
        _ delegate: (any AVCaptureVideoDataOutputSampleBufferDelegate)?, queue: DispatchQueue?
    ) {}
}
public final class AVCaptureSession {
    public struct Preset: Sendable { public static let vga640x480 = Preset() }
    public init() {}
    public var inputs: [AVCaptureInput] { [] }
    public var sessionPreset = Preset()
    public func beginConfiguration() {}
    public func commitConfiguration() {}
    public func canAddInput(_ input: AVCaptureInput) -> Bool { true }
    public func canAddOutput(_ output: AVCaptureOutput) -> Bool { true }
    public func addInput(_ input: AVCaptureInput) {}
    public func addOutput(_ output: AVCaptureOutput) {}
    public func startRunning() {}
    public func stopRunning() {}
}
public struct AVLayerVideoGravity: Sendable { public static let resizeAspectFill = AVLayerVideoGravity() }
public final class AVCaptureVideoPreviewLayer: CALayer {
    public var session: AVCaptureSession?
    public var videoGravity = AVLayerVideoGravity()
}
