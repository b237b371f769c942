// A battery, a mains adapter and a thermal zone whose values are read from the memory page that the host writes.
DefinitionBlock ("rig.aml", "SSDT", 2, "EDGED ", "BATTSHM ", 0x00000002)
{
  // The page is little-endian 32-bit words: 0 temperature in 0.1 C, 1 state (1 discharging, 2 charging), 2 mA, 3 mAh left, 4 mV.
  External (\_SB.PCI0, DeviceObj)
  Scope (\_SB.PCI0)
  {
    Device (IVSH)
    {
      Name (_ADR, 0x001E0000)
      OperationRegion (PCFG, PCI_Config, 0, 0x40)
      Field (PCFG, WordAcc, NoLock, Preserve) { Offset (0x04), CMDR, 16 }
      Field (PCFG, DWordAcc, NoLock, Preserve) { Offset (0x18), BARL, 32, BARH, 32 }
    }
  }
  Method (\GETV, 1, Serialized)
  {
    // No driver binds to ivshmem, so its memory has to be switched on here.
    If ((\_SB.PCI0.IVSH.CMDR & 2) == 0) { \_SB.PCI0.IVSH.CMDR = 6 }
    Local0 = (\_SB.PCI0.IVSH.BARH << 32) | (\_SB.PCI0.IVSH.BARL & 0xFFFFFFF0)
    Local0 += (Arg0 * 4)
    OperationRegion (SHMR, SystemMemory, Local0, 4)
    Field (SHMR, DWordAcc, NoLock, Preserve) { VALU, 32 }
    Return (VALU)
  }
  Scope (\_SB)
  {
    Device (ADP0)
    {
      Name (_HID, "ACPI0003")
      Method (_PSR) { Return (\GETV (1) == 2) }
      Method (_PCL) { Return (Package () { \_SB }) }
    }
    Device (BAT0)
    {
      Name (_HID, EisaId ("PNP0C0A"))
      Name (_UID, 1)
      Method (_STA) { Return (0x1F) }
      Method (_PCL) { Return (Package () { \_SB }) }
      // 4600 mAh as designed, 4410 when last full, 3850 mV.
      Method (_BIF) { Return (Package () { 1, 4600, 4410, 1, 3850, 400, 200, 10, 10, "RIG-4600", "0001", "LION", "EDGERIG" }) }
      Name (BSTP, Package (4) { 1, 0, 0, 0 })
      Method (_BST, 0, Serialized)
      {
        BSTP [0] = \GETV (1)
        BSTP [1] = \GETV (2)
        BSTP [2] = \GETV (3)
        BSTP [3] = \GETV (4)
        Return (BSTP)
      }
    }
  }
  Scope (\_TZ)
  {
    ThermalZone (TZ00)
    {
      Method (_TMP, 0, Serialized) { Return ((2732 + \GETV (0)) & 0xFFFFFFFF) }
      // 120 C: Linux powers the board off there.
      Method (_CRT) { Return (3932) }
      Name (_TZP, 10)
    }
  }
}
